// Blending: one warp per 8x4 pixels, front to back.
#include "../backend.h"
#include "blend_many.h"
#include "channels.h"
#include "device.h"

namespace gaussian::cuda {
namespace {

template <int C>
struct BlendStage {
  static constexpr int kStride = (C + 3) / 4 * 4;  // rows start on 16 bytes: four channels in one load
  BlockSplat splats[kWarp];
  alignas(16) float features[kWarp * kStride];
  BlockQueue queue;
};

template <int C>
__global__ void __launch_bounds__(kGroupThreads)
    blend_kernel(int width, int height, State state, Features<float> features, Images<float> images) {
  __shared__ BlendStage<C> stages[kWarpsPerGroup];
  BlendStage<C>& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * C;

  float transmittance = 1.f, depth = 0.f, sums[C] = {};
  uint32_t last = 0;
  bool done = !pixel.inside;
  BlockList<false> list(state, pixel, tile_length(state, pixel.tile), stage.queue);
  while (!__all_sync(kFullWarp, done)) {
    BlockList<false>::Entry mine;
    const int count = list.fetch(mine);
    if (count == 0) break;
    if (pixel.lane < count) stage.splats[pixel.lane] = mine.splat;
    __syncwarp();
    stage_features<C, BlendStage<C>::kStride>(features, first_channel, stage.splats, count, pixel.lane, stage.features);
    __syncwarp();
    int last_blended = -1;
    for (int i = 0; i < count; ++i) {
      if (i % 8 == 0 && __all_sync(kFullWarp, done)) break;
      const BlockSplat s = stage.splats[i];
      const float exponent = log2_alpha(s, pixel.dx, pixel.dy);
      if (done || exponent < static_cast<float>(kLog2MinAlpha)) continue;
      const float alpha = fminf(fast_exp2(exponent), static_cast<float>(kMaxAlpha));
      const float behind = transmittance * (1.f - alpha);
      if (behind < static_cast<float>(kMinTransmittance)) {
        done = true;
        continue;
      }
      const float weight = alpha * transmittance;
      depth += weight * s.depth;
#pragma unroll
      for (int c = 0; c < C; ++c) sums[c] += weight * stage.features[i * BlendStage<C>::kStride + c];
      transmittance = behind;
      last_blended = i;
    }
    const uint32_t last_position = __shfl_sync(kFullWarp, mine.position, max(last_blended, 0));
    if (last_blended >= 0) last = last_position + 1;
  }
  if (!pixel.inside) return;
  const int64_t pixels = static_cast<int64_t>(width) * height;
#pragma unroll
  for (int c = 0; c < C; ++c) {
    const int64_t channel = first_channel + c;
    if (channel >= features.channels) break;
    const float background = features.background ? features.background[channel] : 0.f;
    images.image[channel * pixels + pixel.index] = sums[c] + transmittance * background;
  }
  if (blockIdx.y != 0) return;
  if (images.depth) images.depth[pixel.index] = depth;
  if (!images.alpha) return;
  images.alpha[pixel.index] = 1.f - transmittance;
  state.transmittance[pixel.index] = transmittance;
  state.last[pixel.index] = last;
}

}  // namespace

void blend(const Camera<float>& camera, const Prepared& prepared, const Features<float>& features,
           const Images<float>& images, Allocator, const Execution& execution) {
  const DeviceGuard guard(execution);
  const State state = state_of(prepared, camera.width, camera.height);
  const cudaStream_t stream = stream_of(execution);
  if (features.channels > kMaxChannels && has_tensor_cores(execution))
    return blend_many(camera, state, features, images, stream);
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile),
                    chunks_of(features.channels, kMaxChannels));
  with_channels<kMaxChannels>(features.channels, [&](auto channels) {
    launch("blend_kernel", blend_kernel<channels>, groups, kGroupThreads, stream, camera.width, camera.height, state,
           features, images);
  });
}

}  // namespace gaussian::cuda
