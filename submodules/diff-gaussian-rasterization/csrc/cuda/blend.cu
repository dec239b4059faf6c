// Blending: one warp per 8x4 pixels, front to back.
#include "../backend.h"
#include "alpha.h"
#include "blend_many.h"
#include "channels.h"
#include "device.h"

namespace gaussian::cuda {
namespace {

constexpr int kUnroll = 4;  // splats interleaved to hide the latency of their exponentials

template <int C>
struct BlendStage {
  BlockSplat splats[kWarp];
  alignas(16) float features[C > 0 ? kWarp * kStagedStride<C> : 4];
  uint32_t gaussians[kWarp];
  BlockQueue queue;
};

// Blends C channels and, with kGeometry, alpha and depth, which belong to the first chunk of channels.
template <int C, bool kGeometry>
__global__ void __launch_bounds__(kGroupThreads)
    blend_kernel(int width, int height, State state, Features<float> features, Images<float> images) {
  __shared__ BlendStage<C> stages[kWarpsPerGroup];
  BlendStage<C>& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * C;

  Transmittance transmittance(pixel.inside);
  float depth = 0.f, sums[C > 0 ? C : 1] = {};
  uint32_t last = ~0u;  // position of the last splat after which the pixel was not done
  BlockList<false> list(state, pixel, tile_length(state, pixel.tile), stage.queue);
  while (!__all_sync(kFullWarp, transmittance.done())) {
    BlockList<false>::Entry mine;
    const int count = list.fetch(mine);
    if (count == 0) break;
    stage.splats[pixel.lane] = pixel.lane < count ? mine.splat : null_splat();
    if constexpr (C > 0) {
      stage.gaussians[pixel.lane] = mine.gaussian;
      __syncwarp();
      stage_features<C>(features, first_channel, stage.gaussians, count, pixel.lane, stage.features);
    }
    __syncwarp();
    for (int first = 0; first < count; first += kUnroll) {
      if (__all_sync(kFullWarp, transmittance.done())) break;
#pragma unroll
      for (int i = first; i < first + kUnroll; ++i) {
        const BlockSplat s = stage.splats[i];
        const float weight = transmittance.blend(alpha_at(s, pixel.dx, pixel.dy));
        if constexpr (kGeometry) {
          depth = fmaf(weight, s.depth, depth);
          last = transmittance.done() ? last : s.position;
        }
#pragma unroll
        for (int c = 0; c < C; ++c) sums[c] = fmaf(weight, stage.features[i * kStagedStride<C> + c], sums[c]);
      }
    }
  }
  if (!pixel.inside) return;
  const int64_t pixels = static_cast<int64_t>(width) * height;
#pragma unroll
  for (int c = 0; c < C; ++c) {
    const int64_t channel = first_channel + c;
    if (channel >= features.channels) break;
    const float background = features.background ? features.background[channel] : 0.f;
    images.image[channel * pixels + pixel.index] = sums[c] + transmittance.behind() * background;
  }
  if (!kGeometry || blockIdx.y != 0) return;
  if (images.depth) images.depth[pixel.index] = depth;
  if (!images.alpha) return;
  images.alpha[pixel.index] = 1.f - transmittance.behind();
  state.transmittance[pixel.index] = transmittance.behind();
  state.last[pixel.index] = min(last + 1, tile_length(state, pixel.tile));
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
  const bool geometry = images.alpha || images.depth;
  with_channels<kMaxChannels>(features.channels, [&](auto channels) {
    launch("blend_kernel", geometry ? blend_kernel<channels, true> : blend_kernel<channels, false>, groups,
           kGroupThreads, stream, camera.width, camera.height, state, features, images);
  });
}

}  // namespace gaussian::cuda
