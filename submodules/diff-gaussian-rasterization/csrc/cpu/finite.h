// Search of arrays for NaN and infinities.
#pragma once

#include <cstdint>
#include <cstring>

#include "../gaussian_math.h"

namespace gaussian::cpu {

// Tests the exponent bits with integer operations, so that the loop vectorises on any instruction set.
inline bool finite_bits(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof(bits));
  return (bits & 0x7f800000u) != 0x7f800000u;
}
inline bool finite_bits(double v) { return finite(v); }

template <class T>
bool all_finite(const T* values, int64_t count) {
  bool bad = false;
  for (int64_t i = 0; i < count; ++i) bad |= !finite_bits(values[i]);  // no early exit: the loop is memory-bound
  return !bad;
}

}  // namespace gaussian::cpu
