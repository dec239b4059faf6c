// The way of pixels through their splats, 16 of them at a time, leaving the weights in shared memory for matrix
// products.
#pragma once

#include "block_list.h"
#include "weight_product.h"

namespace gaussian::cuda {

struct FrontToBack {
  float transmittance = 1.f, depth = 0.f;
  bool done;  // the next splat would take the transmittance below its limit

  __device__ explicit FrontToBack(const Pixel& pixel) : done(!pixel.inside) {}

  // Row i of the matrix gets the weights of splat i, zero where a pixel does not blend it and in rows from `count` on.
  // Returns the last row this thread's pixel blended, or -1.
  template <int kStride>
  __device__ __forceinline__ int weigh(const BlockSplat* splats, int count, const Pixel& pixel,
                                       PixelMatrix<kStride>& weights) {
    int last = -1;
    for (int row = 0; row < kMmaRows; ++row) {
      float weight = 0.f;
      if (row < count && !done) {
        const BlockSplat s = splats[row];
        const float exponent = log2_alpha(s, pixel.dx, pixel.dy);
        if (exponent >= static_cast<float>(kLog2MinAlpha)) {
          const float alpha = fminf(fast_exp2(exponent), static_cast<float>(kMaxAlpha));
          const float behind = transmittance * (1.f - alpha);
          done = behind < static_cast<float>(kMinTransmittance);
          if (!done) {
            weight = alpha * transmittance;
            depth += weight * s.depth;
            transmittance = behind;
            last = row;
          }
        }
      }
      weights.values[row * kStride + pixel.lane] = weight;
    }
    return last;
  }
};

// What a warp shares on the way.
template <int kStride>
struct WayStage {
  BlockSplat splats[kWarp];
  PixelMatrix<kStride> weights;
  BlockQueue queue;
};

// Takes the pixels of a block to the ends of their ways. For each 16 splats of which some pixel blends one, with their
// weights in the stage, calls blended(first, count, row, position): they are splats `first` to `count` of the stage,
// `row` is what `weigh` returned, and `position` that of the lane's splat in the tile's list.
template <int kStride, class Function>
__device__ __forceinline__ void walk(FrontToBack& way, const State& state, const Pixel& pixel, WayStage<kStride>& stage,
                                     const Function& blended) {
  BlockList<false> list(state, pixel, tile_length(state, pixel.tile), stage.queue);
  while (!__all_sync(kFullWarp, way.done)) {
    BlockList<false>::Entry mine;
    const int count = list.fetch(mine);
    if (count == 0) break;
    if (pixel.lane < count) stage.splats[pixel.lane] = mine.splat;
    __syncwarp();
    for (int first = 0; first < count; first += kMmaRows) {
      const int row = way.weigh(stage.splats + first, count - first, pixel, stage.weights);
      if (!__any_sync(kFullWarp, row >= 0)) continue;
      __syncwarp();
      blended(first, count, row, mine.position);
      __syncwarp();
    }
  }
}

}  // namespace gaussian::cuda
