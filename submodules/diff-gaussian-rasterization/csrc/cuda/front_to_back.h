// Front-to-back traversal of a block's splats. Writes the blending weights of 16 splats at a time to shared memory for
// matrix products.
#pragma once

#include "alpha.h"
#include "weight_product.h"

namespace gaussian::cuda {

struct FrontToBack {
  Transmittance transmittance;
  float depth = 0.f;
  uint32_t last = ~0u;  // position of the last splat after which the pixel was not done

  __device__ explicit FrontToBack(const Pixel& pixel) : transmittance(pixel.inside) {}

  __device__ __forceinline__ float blend(const BlockSplat& s, float alpha) {
    const float weight = transmittance.blend(alpha);
    depth = fmaf(weight, s.depth, depth);
    last = transmittance.done() ? last : s.position;
    return weight;
  }

  // Row i of the matrix gets the blending weights of splat i. All 16 splats are read, null splats after the last.
  // Returns whether this thread's pixel blended any of them.
  template <int kStride>
  __device__ __forceinline__ bool blend_rows(const BlockSplat* splats, const Pixel& pixel,
                                             PixelMatrix<kStride>& weights) {
    float largest = 0.f;
#pragma unroll 4
    for (int row = 0; row < kMmaRows; ++row) {
      const BlockSplat s = splats[row];
      const float weight = blend(s, alpha_at(s, pixel.dx, pixel.dy));
      largest = fmaxf(largest, weight);
      weights.values[row * kStride + pixel.lane] = weight;
    }
    return largest > 0.f;
  }
};

// Shared memory of one warp.
template <int kStride>
struct WarpStage {
  BlockSplat splats[kWarp];
  uint32_t rows[kWarp];  // row of each splat in the caller's arrays, or in State::splats
  PixelMatrix<kStride> weights;
  BlockQueue queue;
};

// Blends a block's splats until all its pixels are done. For each group of 16 splats of which some pixel blends at
// least one, calls blended(first, count) with their weights in the stage; the group starts at splat `first` of the
// `count` in the stage. `by_rank` selects rows of State::splats instead of the caller's arrays.
template <int kStride, class Function>
__device__ __forceinline__ void blend_by_warp(FrontToBack& pass, const State& state, const Pixel& pixel, bool by_rank,
                                              WarpStage<kStride>& stage, const Function& blended) {
  BlockList<false> list(state, pixel, tile_length(state, pixel.tile), stage.queue);
  while (!__all_sync(kFullWarp, pass.transmittance.done())) {
    BlockList<false>::Entry mine;
    const int count = list.fetch(mine);
    if (count == 0) break;
    stage.splats[pixel.lane] = pixel.lane < count ? mine.splat : null_splat();
    stage.rows[pixel.lane] = by_rank ? mine.rank : mine.gaussian;
    __syncwarp();
    for (int first = 0; first < count; first += kMmaRows) {
      const bool any = pass.blend_rows(stage.splats + first, pixel, stage.weights);
      if (!__any_sync(kFullWarp, any)) continue;
      __syncwarp();
      blended(first, count);
      __syncwarp();
    }
  }
}

}  // namespace gaussian::cuda
