// 8 lanes in plain C++: the fallback for any processor, and the double-precision path.
#pragma once

#include <cmath>

#include "tile_kernels.h"

namespace gaussian::cpu {

template <class T>
struct ScalarLanes {
  using Real = T;
  struct Mask {
    bool lane[kLanes];
  };
  struct Bits {
    uint32_t lane[kLanes];
  };
  T lane[kLanes];

  template <class F>
  static ScalarLanes each(F f) {
    ScalarLanes out;
    for (int i = 0; i < kLanes; ++i) out.lane[i] = f(i);
    return out;
  }
  template <class F>
  static Mask test(F f) {
    Mask out;
    for (int i = 0; i < kLanes; ++i) out.lane[i] = f(i);
    return out;
  }

  static ScalarLanes load(const T* p) {
    return each([&](int i) { return p[i]; });
  }
  static ScalarLanes broadcast(T v) {
    return each([&](int) { return v; });
  }
  void store(T* p) const {
    for (int i = 0; i < kLanes; ++i) p[i] = lane[i];
  }
  friend ScalarLanes operator+(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend ScalarLanes operator-(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend ScalarLanes operator*(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend Mask operator>=(ScalarLanes a, ScalarLanes b) {
    return test([&](int i) { return a.lane[i] >= b.lane[i]; });
  }
  friend Mask operator<(ScalarLanes a, ScalarLanes b) {
    return test([&](int i) { return a.lane[i] < b.lane[i]; });
  }
  static ScalarLanes fma(ScalarLanes a, ScalarLanes b, ScalarLanes c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static ScalarLanes fnma(ScalarLanes a, ScalarLanes b, ScalarLanes c) {
    return each([&](int i) { return c.lane[i] - a.lane[i] * b.lane[i]; });
  }
  static ScalarLanes min(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static ScalarLanes max(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static ScalarLanes sqrt(ScalarLanes a) {
    return each([&](int i) { return std::sqrt(a.lane[i]); });
  }
  static void exp2(const ScalarLanes* a, ScalarLanes* out) {
    for (int j = 0; j < 2; ++j) out[j] = each([&](int i) { return std::exp2(a[j].lane[i]); });
  }
  static ScalarLanes select(Mask m, ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return m.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static ScalarLanes where(Mask m, ScalarLanes a) {
    return each([&](int i) { return m.lane[i] ? a.lane[i] : T(0); });
  }
  static bool any(Mask m) {
    bool found = false;
    for (int i = 0; i < kLanes; ++i) found |= m.lane[i];
    return found;
  }
  // Bits of the 4-pixel column blocks between pixel columns `first` and `last` (fractional, 0 is the first centre).
  static Bits column_blocks(ScalarLanes first, ScalarLanes last, ScalarLanes rest) {
    Bits out;
    for (int i = 0; i < kLanes; ++i) {
      const T low = first.lane[i] > 0 ? std::ceil(first.lane[i]) : T(0);
      const T high = last.lane[i] < 15 ? std::floor(last.lane[i]) : T(15);
      out.lane[i] = 0;
      if (rest.lane[i] >= 0 && low <= high) out.lane[i] = (2u << (int(high) / 4)) - (1u << (int(low) / 4));
    }
    return out;
  }
  static uint32_t nibbles(Bits even, Bits odd) {
    uint32_t out = 0;
    for (int i = 0; i < kLanes; ++i) out |= (even.lane[i] | odd.lane[i]) << (4 * i);
    return out;
  }
  // Writes, block after block, the pairs that reach it; begin[k] is where those of block k start. Returns their number.
  static int list_blocks(const Pair<T>* pairs, int count, uint32_t alive, uint8_t* index, int32_t* begin) {
    int size = 0;
    for (int k = 0; k < kBlocks; ++k) {
      begin[k] = size;
      for (int i = 0; i < count; ++i)
        if (pairs[i].blocks & alive & (1u << k)) index[size++] = uint8_t(i);
    }
    return size;
  }
};

}  // namespace gaussian::cpu
