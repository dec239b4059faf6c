// Blending weights in 16 bits: no sign, 5 bits of exponent, 11 bits of fraction. A positive weight is at least
// kMinAlpha * kMinTransmittance = 3.9e-7 and below 1, which takes 22 of the 32 exponents; zero is exact. Rounding
// changes a weight by at most 2^-12 of its value, half as much as IEEE half precision would.
#pragma once

#include <cstdint>

namespace gaussian::cpu {

constexpr int kHalfShift = 12;  // fraction bits of a float that are dropped
constexpr uint32_t kHalfDropped = (1u << kHalfShift) - 1;
constexpr float kHalfScale = 20282409603651670423947251286016.0f;  // 2^104: the least float exponent stands for 2^-22

// Rounds to the nearest weight that 16 bits hold, ties to even.
static inline float round_to_half(float weight) {
  uint32_t bits;
  __builtin_memcpy(&bits, &weight, sizeof(bits));
  bits = (bits + (kHalfDropped >> 1) + (bits >> kHalfShift & 1)) & ~kHalfDropped;
  __builtin_memcpy(&weight, &bits, sizeof(bits));
  return weight;
}

// Exact for rounded weights.
static inline uint16_t pack_half(float weight) {
  weight *= 1 / kHalfScale;
  uint32_t bits;
  __builtin_memcpy(&bits, &weight, sizeof(bits));
  return uint16_t(bits >> kHalfShift);
}

static inline float unpack_half(uint16_t half) {
  const uint32_t bits = uint32_t(half) << kHalfShift;
  float weight;
  __builtin_memcpy(&weight, &bits, sizeof(bits));
  return weight * kHalfScale;
}

}  // namespace gaussian::cpu
