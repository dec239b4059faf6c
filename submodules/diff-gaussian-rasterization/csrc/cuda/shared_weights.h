// Many channels: the warps of a thread block share the weights of one 8x4 block of pixels and split its channels, so
// that alpha is evaluated once for all of them.
#pragma once

#include "front_to_back.h"

namespace gaussian::cuda {

constexpr int kMaxSharingWarps = 8;
constexpr int kWarpChannels = 32;  // more would leave registers for half as many warps

// Number of warps that share the weights, and of channels that they cover together.
inline int sharing_warps(int64_t channels) {
  const int64_t wanted = (channels + kWarpChannels - 1) / kWarpChannels;
  return static_cast<int>(wanted < kMaxSharingWarps ? wanted : kMaxSharingWarps);
}

// Grid: x = blocks of all tiles, y = chunks of channels.
inline dim3 sharing_grid(const State& state, int64_t channels) {
  const int64_t covered = int64_t{kWarpChannels} * sharing_warps(channels);
  return dim3(static_cast<unsigned>(state.tiles_x * state.tiles_y * kBlocksPerTile),
              static_cast<unsigned>((channels + covered - 1) / covered));
}

// First channel of the calling warp.
__device__ __forceinline__ int64_t first_shared_channel() {
  const int64_t warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp;
  return (blockIdx.y * warps + warp) * kWarpChannels;
}

template <int kStride>
struct SharedStage {
  BlockSplat splats[2][kWarp];  // of this batch and, while some warps are still multiplying, of the next
  uint32_t rows[2][kWarp];
  PixelMatrix<kStride> weights[kWarp / kMmaRows];
  BlockQueue queue;
  int count;                       // of the batch; 0 at the end
  bool blended[kWarp / kMmaRows];  // some pixel blends one of these 16 splats
  float transmittance[kWarp];      // at the end, of each pixel
};

// Like `blend_by_warp`, but with all warps of the thread block: the first warp fetches the splats and runs the
// recurrence, all warps evaluate alpha, then each multiplies its channels. Calls blended(half, splats, rows, count) for
// the 16 splats starting at 16 * half. On return `pass` is valid in the first warp only, stage.transmittance in
// all.
template <int kStride, class Function>
__device__ __forceinline__ void blend_by_group(FrontToBack& pass, const State& state, const Pixel& pixel, bool by_rank,
                                               SharedStage<kStride>& stage, const Function& blended) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  BlockList<false> list(state, pixel, tile_length(state, pixel.tile), stage.queue);
  for (int parity = 0;; parity ^= 1) {
    BlockSplat* const splats = stage.splats[parity];
    if (warp == 0) {
      BlockList<false>::Entry mine;
      const int count = __all_sync(kFullWarp, pass.transmittance.done()) ? 0 : list.fetch(mine);
      splats[pixel.lane] = pixel.lane < count ? mine.splat : null_splat();
      stage.rows[parity][pixel.lane] = by_rank ? mine.rank : mine.gaussian;
      if (pixel.lane == 0) stage.count = count;
    }
    __syncthreads();
    const int count = stage.count;
    if (count == 0) break;
    for (int row = warp; row < kWarp; row += warps)
      stage.weights[row / kMmaRows].values[row % kMmaRows * kStride + pixel.lane] =
          alpha_at(splats[row], pixel.dx, pixel.dy);
    __syncthreads();
    if (warp == 0) {
      for (int half = 0; half < kWarp / kMmaRows; ++half) {
        float largest = 0.f;
#pragma unroll 4
        for (int row = 0; row < kMmaRows; ++row) {
          float& value = stage.weights[half].values[row * kStride + pixel.lane];
          value = pass.blend(splats[half * kMmaRows + row], value);
          largest = fmaxf(largest, value);
        }
        const bool any = __any_sync(kFullWarp, largest > 0.f);
        if (pixel.lane == 0) stage.blended[half] = any;
      }
    }
    __syncthreads();
    for (int half = 0; half < kWarp / kMmaRows; ++half)
      if (stage.blended[half]) blended(half, splats, stage.rows[parity], count);
  }
  if (warp == 0) stage.transmittance[pixel.lane] = pass.transmittance.behind();
  __syncthreads();
}

}  // namespace gaussian::cuda
