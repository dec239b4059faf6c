// The part of CUDA that the kernels use, on the host: put this folder first on the include path and compile a .cu file
// as C++. Blocks run one after another, so atomics need no care and every launch is finished when it returns.
#pragma once

#include <cmath>
#include <cstdint>

#include "counts.h"
#include "fibres.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct int2 {
  int x, y;
};
struct uint2 {
  unsigned x, y;
};
struct float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;

// Barriers and warp collectives; all of them name the whole warp.
inline void __syncthreads(int line = __builtin_LINE()) {
  auto& block = *emulation::Block::active;
  block.meet(block.everyone(), line);
}
inline int __syncthreads_count(int vote, int line = __builtin_LINE()) {
  auto& block = *emulation::Block::active;
  auto& everyone = block.everyone();
  everyone.votes[everyone.generation & 1] += vote != 0;
  const unsigned parity = block.meet(everyone, line);
  return everyone.votes[parity];
}
inline int __syncthreads_or(int vote, int line = __builtin_LINE()) { return __syncthreads_count(vote, line) > 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  emulation::exchange(0, mask, 0, line);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int line = __builtin_LINE()) {
  return emulation::exchange(value, mask, source, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int line = __builtin_LINE()) {
  return emulation::exchange(value, mask, emulation::Block::active->lane() ^ bits, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int line = __builtin_LINE()) {
  const unsigned lane = emulation::Block::active->lane();
  return emulation::exchange(value, mask, lane + delta < 32 ? lane + delta : lane, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int line = __builtin_LINE()) {
  const unsigned lane = emulation::Block::active->lane();
  return emulation::exchange(value, mask, lane >= delta ? lane - delta : lane, line);
}
inline unsigned __ballot_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  auto& warp = emulation::Block::active->warp();
  const unsigned parity = warp.generation & 1;
  emulation::exchange(vote, mask, 0, line);
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    int offered;
    std::memcpy(&offered, warp.offered[parity][lane], sizeof offered);
    ballot |= (offered != 0 ? 1u : 0u) << lane;
  }
  return ballot;
}
inline int __any_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  return __ballot_sync(mask, vote, line) != 0;
}
inline int __all_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  return __ballot_sync(mask, vote, line) == ~0u;
}

template <class T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = before + value;
  ++emulation::runtime.atomics;
  return before;
}
// Vectors of floats, as on compute capability 9.0: one operation, which has to be aligned.
template <class Vector, int kSize>
void atomic_add_vector(Vector* address, const float* values) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(Vector) != 0)
    emulation::fail("an atomic addition is not aligned", 0, 0);
  for (int i = 0; i < kSize; ++i) reinterpret_cast<float*>(address)[i] += values[i];
  ++emulation::runtime.atomics;
}
inline void atomicAdd(float2* address, float2 value) { atomic_add_vector<float2, 2>(address, &value.x); }
inline void atomicAdd(float4* address, float4 value) { atomic_add_vector<float4, 4>(address, &value.x); }
template <class T>
T atomicMin(T* address, T value) {
  const T before = *address;
  *address = std::min(before, value);
  return before;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }
inline float __uint_as_float(unsigned x) {
  float y;
  std::memcpy(&y, &x, 4);
  return y;
}
inline unsigned __float_as_uint(float x) {
  unsigned y;
  std::memcpy(&y, &x, 4);
  return y;
}

#include "runtime.h"
