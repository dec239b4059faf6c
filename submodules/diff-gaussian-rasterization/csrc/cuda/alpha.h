// Alpha of a splat at a pixel, and the recurrence of the transmittance. Every kernel that blends or replays blending
// uses these functions, so that all of them get bitwise the same values.
#pragma once

#include "block_list.h"

namespace gaussian::cuda {

__device__ __forceinline__ float fast_exp2(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));  // relative error 2^-22; exp2f adds code for denormal results
  return y;
#else
  return std::exp2(x);
#endif
}

// 1 / x for positive normal x, to one unit in the last place. A plain division adds a call for the other cases.
__device__ __forceinline__ float fast_reciprocal(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return x == 1.f ? 1.f : std::nextafter(1.f / x, INFINITY);  // maximum device error, always in one direction
#endif
}

// Alpha before it is clamped to kMaxAlpha, at the offset (dx, dy) from the centre of the block. Zero below kMinAlpha.
__device__ __forceinline__ float unclamped_alpha(const BlockSplat& s, float dx, float dy) {
  const float t1 = fmaf(s.uy, dy, fmaf(s.ux, dx, s.t1)), t2 = fmaf(s.vy, dy, s.t2);
  const float exponent = fmaf(-t1, t1, fmaf(-t2, t2, s.log2_opacity));
  return exponent >= static_cast<float>(kLog2MinAlpha) ? fast_exp2(exponent) : 0.f;
}

__device__ __forceinline__ float alpha_at(const BlockSplat& s, float dx, float dy) {
  return fminf(unclamped_alpha(s, dx, dy), static_cast<float>(kMaxAlpha));
}

// Padding of incomplete batches: a splat that no pixel blends, with a position after every list.
constexpr uint32_t kBehindAll = 0xfffffffeu;
__device__ __forceinline__ BlockSplat null_splat() { return {0.f, 0.f, 0.f, 0.f, 0.f, -INFINITY, 0.f, kBehindAll}; }

class Transmittance {
 public:
  __device__ explicit Transmittance(bool inside) : running_(inside ? 1.f : 0.f) {}

  // The blending weight of the next splat, front to back: zero if alpha is zero, and from the first splat on that
  // would lower the transmittance below its limit.
  __device__ __forceinline__ float blend(float alpha) {
    const float next = fmaf(-alpha, running_, running_);
    const float weight = next >= static_cast<float>(kMinTransmittance) ? alpha * running_ : 0.f;
    behind_ = next >= static_cast<float>(kMinTransmittance) ? next : behind_;
    running_ = next;
    return weight;
  }
  __device__ __forceinline__ bool done() const { return running_ < static_cast<float>(kMinTransmittance); }
  // Transmittance behind the last blended splat.
  __device__ __forceinline__ float behind() const { return behind_; }

 private:
  float running_;  // never increases: a value below the limit means done, no flag needed
  float behind_ = 1.f;
};

}  // namespace gaussian::cuda
