// Blending of many channels: lanes find the weights of 16 splats at a time, then channels are matrix products,
// [pixels, splats] x [splats, channels]. A warp keeps 64 channels of its 32 pixels in registers; further channels go to
// further thread blocks, which find the weights again.
#include "blend_many.h"
#include "device.h"
#include "front_to_back.h"

namespace gaussian::cuda {
namespace {

constexpr int kColumnTiles = 8;
constexpr int kChunk = kColumnTiles * kMmaColumns;  // channels of a warp
constexpr int kRowTiles = kWarp / kMmaRows;

// Eight consecutive channels of a Gaussian, zero behind the last.
__device__ __forceinline__ void load_channels(const Features<float>& features, bool aligned, uint32_t gaussian,
                                              int64_t channel, float (&out)[kColumnTiles]) {
  const float* row = features.values + gaussian * features.channels;
  if (aligned && channel + kColumnTiles <= features.channels) {
    const float4 low = *reinterpret_cast<const float4*>(row + channel);
    const float4 high = *reinterpret_cast<const float4*>(row + channel + 4);
    out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
    out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < kColumnTiles; ++i) out[i] = channel + i < features.channels ? row[channel + i] : 0.f;
}

__global__ void __launch_bounds__(kGroupThreads)
    blend_many_kernel(int width, int height, State state, Features<float> features, bool aligned,
                      Images<float> images) {
  __shared__ WayStage<kColumnStride> stages[kWarpsPerGroup];
  WayStage<kColumnStride>& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int group = pixel.lane / 4, member = pixel.lane % 4;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * kChunk;
  // Column `n` of column tile `t` is channel first_channel + 8 n + t: a lane's share of a row of features is
  // contiguous.
  float sums[kRowTiles][kColumnTiles][4] = {};
  uint32_t last = 0;

  FrontToBack way(pixel);
  walk(way, state, pixel, stage, [&](int first, int count, int row, uint32_t mine) {
    const uint32_t position = __shfl_sync(kFullWarp, mine, first + max(row, 0));
    if (row >= 0) last = position + 1;
#pragma unroll
    for (int step = 0; step < kMmaRows; step += kMmaDepth) {
      float values[2][kColumnTiles] = {};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int splat = first + step + 4 * half + member;
        if (splat < count)
          load_channels(features, aligned, stage.splats[splat].gaussian, first_channel + group * kColumnTiles,
                        values[half]);
      }
      const float* near = stage.weights.values + (step + member) * kColumnStride + group;
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
      const int p = tile * kMmaRows + 8 * half + group;  // pixel of the block, which lane p owns
      const float transmittance = __shfl_sync(kFullWarp, way.transmittance, p);
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
  if (blockIdx.y != 0 || !pixel.inside) return;
  if (images.depth) images.depth[pixel.index] = way.depth;
  if (!images.alpha) return;
  images.alpha[pixel.index] = 1.f - way.transmittance;
  state.transmittance[pixel.index] = way.transmittance;
  state.last[pixel.index] = last;
}

}  // namespace

void blend_many(const Camera<float>& camera, const State& state, const Features<float>& features,
                const Images<float>& images, cudaStream_t stream) {
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile),
                    static_cast<unsigned>((features.channels + kChunk - 1) / kChunk));
  const bool aligned = features.channels % 4 == 0 && reinterpret_cast<uintptr_t>(features.values) % 16 == 0;
  launch("blend_many_kernel", blend_many_kernel, groups, kGroupThreads, stream, camera.width, camera.height, state,
         features, aligned, images);
}

}  // namespace gaussian::cuda
