// Sums over the 32 pixels of a block for 16 splats at once, as matrix products: [splats, pixels] x [pixels, columns].
// A reduction by shuffles would cost about as much as evaluating the splats; on tensor cores it is nearly free.
#pragma once

#include "mma.h"

namespace gaussian::cuda {

// Row strides without bank conflicts in fragment loads, for matrices read as [rows, pixels] and transposed.
constexpr int kRowStride = kWarp + 4, kColumnStride = kWarp + 8;
constexpr int kSteps = kWarp / kMmaDepth;

// One number for each of 16 splats (rows) and 32 pixels (columns), in shared memory.
template <int kStride>
struct PixelMatrix {
  float values[kMmaRows * kStride];
};

// Right-hand side of a product, as fragments: entry (pixel, column) of 8 columns.
struct ColumnFragments {
  float b[kSteps][2];
};

// Fills fragments from function(x, y, column); x and y are the offset of a pixel in its block.
template <class Function>
__device__ __forceinline__ void fill_columns(ColumnFragments& fragments, int lane, const Function& function) {
  const int group = lane / 4, member = lane % 4;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    static_assert(kMmaDepth == kBlockWidth, "a step covers one row of pixels");
    fragments.b[step][0] = function(member, step, group);
    fragments.b[step][1] = function(member + 4, step, group);
  }
}

// sums[tile] = matrix x fragments[tile].
template <int kTiles>
__device__ __forceinline__ void multiply(const PixelMatrix<kRowStride>& matrix,
                                         const ColumnFragments (&fragments)[kTiles], int lane,
                                         float (&sums)[kTiles][4]) {
  const int group = lane / 4, member = lane % 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[tile][i] = 0.f;
  const float* upper = matrix.values + group * kRowStride + member;
  const float* lower = upper + 8 * kRowStride;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int k = step * kMmaDepth;
    const float a[4] = {upper[k], lower[k], upper[k + 4], lower[k + 4]};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) multiply_add(sums[tile], a, fragments[tile].b[step]);
  }
}

// Calls function(row, column, value) for each of the four entries of a product that this lane holds.
template <class Function>
__device__ __forceinline__ void for_each_entry(const float (&sums)[4], int lane, const Function& function) {
  const int group = lane / 4, member = lane % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) function(group + i / 2 * 8, 2 * member + i % 2, sums[i]);
}

}  // namespace gaussian::cuda
