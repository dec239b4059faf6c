// Adds matrix products to feature gradients, up to four channels per atomic addition.
#pragma once

#include "weight_product.h"

namespace gaussian::cuda {

// Accumulators of feature gradients: 16-byte aligned rows of `stride` floats, a multiple of four. The caller's rows if
// they have this layout; else rows in scratch memory, one for each splat in depth order, with unused padding at the
// end.
struct FeatureRows {
  float* values;  // or null: not requested
  int64_t stride;
  bool by_rank;
};

// Vector atomics need compute capability 9.0 and CUDA 12.1; the host emulation has them too.
#if !defined(__CUDACC__)
#define GAUSSIAN_VECTOR_ATOMICS 1
#elif CUDART_VERSION >= 12010 && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900)
#define GAUSSIAN_VECTOR_ATOMICS 1
#else
#define GAUSSIAN_VECTOR_ATOMICS 0
#endif

__device__ __forceinline__ void add(float* address, float2 v) {
#if GAUSSIAN_VECTOR_ATOMICS
  atomicAdd(reinterpret_cast<float2*>(address), v);
#else
  atomicAdd(address, v.x);
  atomicAdd(address + 1, v.y);
#endif
}

__device__ __forceinline__ void add(float* address, float4 v) {
#if GAUSSIAN_VECTOR_ATOMICS
  atomicAdd(reinterpret_cast<float4*>(address), v);
#else
  add(address, make_float2(v.x, v.y));
  add(address + 2, make_float2(v.z, v.w));
#endif
}

// The channel of column `column` of column tile `tile` of kTiles. Two adjacent tiles share 16 channels such that a
// lane's entries of a row are four consecutive channels; a single last tile has its eight channels in order.
template <int kTiles>
__device__ __forceinline__ int channel_of(int tile, int column) {
  if (tile == kTiles - 1 && kTiles % 2 == 1) return tile * kMmaColumns + column;
  return tile / 2 * 2 * kMmaColumns + column / 2 * 4 + tile % 2 * 2 + column % 2;
}

// Adds a product [16 splats, channels] to the rows of the first `count` splats. Only groups that start before
// `channels` are added.
template <int kTiles>
__device__ __forceinline__ void add_rows(const float (&sums)[kTiles][4], int lane, const uint32_t* rows, int count,
                                         const FeatureRows& out, int64_t first_channel, int channels) {
  const int group = lane / 4, member = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = group + 8 * half;
    if (row >= count) continue;
    float* const target = out.values + rows[row] * out.stride + first_channel;
#pragma unroll
    for (int tile = 0; tile + 1 < kTiles; tile += 2) {
      const int channel = tile * kMmaColumns + 4 * member;
      const float4 v = make_float4(sums[tile][2 * half], sums[tile][2 * half + 1], sums[tile + 1][2 * half],
                                   sums[tile + 1][2 * half + 1]);
      if (channel < channels && (v.x != 0.f || v.y != 0.f || v.z != 0.f || v.w != 0.f)) add(target + channel, v);
    }
    if constexpr (kTiles % 2 == 1) {
      const int channel = (kTiles - 1) * kMmaColumns + 2 * member;
      const float2 v = make_float2(sums[kTiles - 1][2 * half], sums[kTiles - 1][2 * half + 1]);
      if (channel < channels && (v.x != 0.f || v.y != 0.f)) add(target + channel, v);
    }
  }
}

}  // namespace gaussian::cuda
