// Small matrix products by one warp: D += A B with A [16, 8], B [8, 8], D [16, 8], on tensor cores if they
// accept float32 operands, else by shuffles.
//
// Tensor cores round operands to tf32 (11 bits). Operands are therefore split into a head and a remainder, and
// the three significant products are summed: about 21 bits, as accurate as float32 sums in a different order.
//
// Fragments, with group = lane / 4 and member = lane % 4:
//   A: [0] (group, member)  [1] (group + 8, member)  [2] (group, member + 4)  [3] (group + 8, member + 4)
//   B: [0] (member, group)  [1] (member + 4, group)
//   D: [0] (group, 2 member)  [1] (group, 2 member + 1)  [2] and [3] the same in row group + 8
#pragma once

#include "state.h"

namespace gaussian::cuda {

constexpr int kMmaRows = 16, kMmaColumns = 8, kMmaDepth = 8;

// A value as head + remainder, both exact in tf32 up to 2^-22 of the value.
struct Tf32Pair {
  uint32_t head, remainder;
};

__device__ __forceinline__ Tf32Pair split_tf32(float value) {
  const uint32_t head = __float_as_uint(value) & 0xffffe000u;
  return {head, __float_as_uint(value - __uint_as_float(head))};
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800

__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void multiply_add(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  uint32_t a_head[4], a_rest[4], b_head[2], b_rest[2];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Tf32Pair pair = split_tf32(a[i]);
    a_head[i] = pair.head, a_rest[i] = pair.remainder;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const Tf32Pair pair = split_tf32(b[i]);
    b_head[i] = pair.head, b_rest[i] = pair.remainder;
  }
  mma_tf32(d, a_rest, b_head);
  mma_tf32(d, a_head, b_rest);
  mma_tf32(d, a_head, b_head);
}

#else

__device__ __forceinline__ void multiply_add(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, member = lane % 4;
#pragma unroll
  for (int k = 0; k < kMmaDepth; ++k) {
    const int half = k / 4;
    const float upper = __shfl_sync(kFullWarp, a[2 * half], 4 * group + k % 4);
    const float lower = __shfl_sync(kFullWarp, a[2 * half + 1], 4 * group + k % 4);
    const float even = __shfl_sync(kFullWarp, b[half], 4 * (2 * member) + k % 4);
    const float odd = __shfl_sync(kFullWarp, b[half], 4 * (2 * member + 1) + k % 4);
    d[0] += upper * even, d[1] += upper * odd;
    d[2] += lower * even, d[3] += lower * odd;
  }
}

#endif

}  // namespace gaussian::cuda
