// Blending of many channels: matrix products [pixels, splats] x [splats, channels] of 16 splats at a time. A warp keeps
// 32 channels of its 32 pixels in registers; the warps of a thread block share the weights.
#include "blend_many.h"
#include "device.h"
#include "shared_weights.h"

namespace gaussian::cuda {
namespace {

constexpr int kColumnTiles = kWarpChannels / kMmaColumns;
constexpr int kRowTiles = kWarp / kMmaRows;

// Four consecutive channels of a Gaussian, zero beyond the last.
__device__ __forceinline__ void load_channels(const Features<float>& features, bool aligned, uint32_t gaussian,
                                              int64_t channel, float (&out)[kColumnTiles]) {
  const float* row = features.values + gaussian * features.channels;
  if (aligned && channel + kColumnTiles <= features.channels) {
    const float4 loaded = *reinterpret_cast<const float4*>(row + channel);
    out[0] = loaded.x, out[1] = loaded.y, out[2] = loaded.z, out[3] = loaded.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < kColumnTiles; ++i) out[i] = channel + i < features.channels ? row[channel + i] : 0.f;
}

__global__ void __launch_bounds__(kMaxSharingWarps* kWarp, 2)
    blend_many_kernel(int width, int height, State state, Features<float> features, bool aligned,
                      Images<float> images) {
  __shared__ SharedStage<kColumnStride> stage;
  const Pixel pixel(state, width, height, static_cast<int>(blockIdx.x));
  const int group = pixel.lane / 4, member = pixel.lane % 4;
  const int64_t first_channel = first_shared_channel();
  // Column `n` of column tile `t` is channel first_channel + 4 n + t: each lane's part of a feature row is
  // contiguous.
  static_assert(kColumnTiles == 4, "a lane's share is one 16-byte load");
  float sums[kRowTiles][kColumnTiles][4] = {};

  FrontToBack pass(pixel);
  blend_by_group(pass, state, pixel, false, stage, [&](int half, const BlockSplat*, const uint32_t* rows, int count) {
    const int first = half * kMmaRows;
#pragma unroll
    for (int step = 0; step < kMmaRows; step += kMmaDepth) {
      float values[2][kColumnTiles] = {};
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int splat = first + step + 4 * k + member;
        if (splat < count)
          load_channels(features, aligned, rows[splat], first_channel + group * kColumnTiles, values[k]);
      }
      const float* near = stage.weights[half].values + (step + member) * kColumnStride + group;
      const float* far = near + 4 * kColumnStride;
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile) {
        const int p = tile * kMmaRows;
        const float a[4] = {near[p], near[p + 8], far[p], far[p + 8]};
#pragma unroll
        for (int t = 0; t < kColumnTiles; ++t) {
          const float b[2] = {values[0][t], values[1][t]};
          multiply_add(sums[tile][t], a, b);
        }
      }
    }
  });

  const int64_t pixels = static_cast<int64_t>(width) * height;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int p = tile * kMmaRows + 8 * half + group;  // pixel of the block, handled by lane p
      const float transmittance = stage.transmittance[p];
      const int x = pixel.block_x + p % kBlockWidth, y = pixel.block_y + p / kBlockWidth;
      if (x >= width || y >= height) continue;
#pragma unroll
      for (int t = 0; t < kColumnTiles; ++t)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int64_t channel = first_channel + (2 * member + i) * kColumnTiles + t;
          if (channel >= features.channels) continue;
          const float background = features.background ? features.background[channel] : 0.f;
          images.image[channel * pixels + static_cast<int64_t>(y) * width + x] =
              sums[tile][t][2 * half + i] + transmittance * background;
        }
    }
  if (blockIdx.y != 0 || threadIdx.x >= kWarp || !pixel.inside) return;
  if (images.depth) images.depth[pixel.index] = pass.depth;
  if (!images.alpha) return;
  images.alpha[pixel.index] = 1.f - pass.transmittance.behind();
  state.transmittance[pixel.index] = pass.transmittance.behind();
  state.last[pixel.index] = min(pass.last + 1, tile_length(state, pixel.tile));
}

}  // namespace

void blend_many(const Camera<float>& camera, const State& state, const Features<float>& features,
                const Images<float>& images, cudaStream_t stream) {
  const bool aligned = features.channels % 4 == 0 && reinterpret_cast<uintptr_t>(features.values) % sizeof(float4) == 0;
  launch("blend_many_kernel", blend_many_kernel, sharing_grid(state, features.channels),
         sharing_warps(features.channels) * kWarp, stream, camera.width, camera.height, state, features, aligned,
         images);
}

}  // namespace gaussian::cuda
