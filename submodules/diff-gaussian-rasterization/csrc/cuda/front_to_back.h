// The way of a pixel through its splats, 16 of them at a time, leaving the weights in shared memory for matrix
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

}  // namespace gaussian::cuda
