// 8 lanes in plain C++: the fallback for any processor, and the double-precision path.
#pragma once

#include <cmath>
#include <type_traits>

#include "half_weights.h"
#include "tile_kernels.h"
#include "two_vectors.h"

namespace gaussian::cpu {

template <class T>
struct ScalarLanes {
  using Real = T;
  struct Mask {
    bool lane[kLanes];
    friend Mask operator&(Mask a, Mask b) {
      return test([&](int i) { return a.lane[i] && b.lane[i]; });
    }
    friend Mask operator|(Mask a, Mask b) {
      return test([&](int i) { return a.lane[i] || b.lane[i]; });
    }
    friend Mask operator!(Mask a) {
      return test([&](int i) { return !a.lane[i]; });
    }
  };
  struct Bits {
    uint32_t lane[kLanes];
  };
  using Wide = TwoVectors<ScalarLanes>;
  static constexpr bool kScatter16 = false;
  static constexpr bool kWide = false;  // one lane at a time is faster: skipped lanes cost nothing
  T lane[kLanes];

  ScalarLanes() = default;
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  ScalarLanes(Number number) {
    for (int i = 0; i < kLanes; ++i) lane[i] = T(number);
  }

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
  friend ScalarLanes operator/(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  friend ScalarLanes operator-(ScalarLanes a) {
    return each([&](int i) { return -a.lane[i]; });
  }
  friend Mask operator>=(ScalarLanes a, ScalarLanes b) {
    return test([&](int i) { return a.lane[i] >= b.lane[i]; });
  }
  friend Mask operator<=(ScalarLanes a, ScalarLanes b) { return b >= a; }
  friend Mask operator<(ScalarLanes a, ScalarLanes b) {
    return test([&](int i) { return a.lane[i] < b.lane[i]; });
  }
  friend Mask operator>(ScalarLanes a, ScalarLanes b) { return b < a; }
  static ScalarLanes fma(ScalarLanes a, ScalarLanes b, ScalarLanes c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static ScalarLanes fnma(ScalarLanes a, ScalarLanes b, ScalarLanes c) {
    return each([&](int i) { return c.lane[i] - a.lane[i] * b.lane[i]; });
  }
  friend ScalarLanes smaller(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  friend ScalarLanes larger(ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  friend ScalarLanes sqrt(ScalarLanes a) {
    return each([&](int i) { return std::sqrt(a.lane[i]); });
  }
  friend ScalarLanes ceil(ScalarLanes a) {
    return each([&](int i) { return std::ceil(a.lane[i]); });
  }
  friend ScalarLanes floor(ScalarLanes a) {
    return each([&](int i) { return std::floor(a.lane[i]); });
  }
  static void exp2(const ScalarLanes* a, ScalarLanes* out) {
    for (int j = 0; j < 2; ++j) out[j] = each([&](int i) { return std::exp2(a[j].lane[i]); });
  }
  friend ScalarLanes choose(Mask m, ScalarLanes a, ScalarLanes b) {
    return each([&](int i) { return m.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static ScalarLanes where(Mask m, ScalarLanes a) {
    return each([&](int i) { return m.lane[i] ? a.lane[i] : T(0); });
  }
  static uint32_t bits(Mask m) {
    uint32_t out = 0;
    for (int i = 0; i < kLanes; ++i) out |= uint32_t(m.lane[i]) << i;
    return out;
  }
  static bool any(Mask m) { return bits(m) != 0; }
  void store_integers(int32_t* p) const {
    for (int i = 0; i < kLanes; ++i) p[i] = int32_t(lane[i]);
  }
  // See half_weights.h.
  friend ScalarLanes round_to_half(ScalarLanes a) {
    return each([&](int i) { return cpu::round_to_half(float(a.lane[i])); });
  }
  static ScalarLanes load_half(const uint16_t* p) {
    return each([&](int i) { return unpack_half(p[i]); });
  }
  void store_half(uint16_t* p) const {
    for (int i = 0; i < kLanes; ++i) p[i] = pack_half(float(lane[i]));
  }
  static void transpose8(const ScalarLanes* in, ScalarLanes* out) {
    for (int row = 0; row < kLanes; ++row)
      for (int i = 0; i < kLanes; ++i) out[i].lane[row] = in[row].lane[i];
  }
  // Lane i is the sum over the lanes of in[i].
  static ScalarLanes lane_sums(const ScalarLanes* in) {
    return each([&](int i) {
      const T* v = in[i].lane;
      return ((v[0] + v[2]) + (v[1] + v[3])) + ((v[4] + v[6]) + (v[5] + v[7]));
    });
  }
  // Bit mask of the blocks (4 columns each, 32 per row) between pixel columns `first` and `last` (fractional, 0 is the
  // first pixel centre); zero where `rest` is negative.
  static Bits column_blocks(ScalarLanes first, ScalarLanes last, ScalarLanes rest) {
    Bits out;
    for (int i = 0; i < kLanes; ++i) {
      const T low = first.lane[i] > 0 ? std::ceil(first.lane[i]) : T(0);
      const T high = last.lane[i] < 127 ? std::floor(last.lane[i]) : T(127);
      out.lane[i] = 0;
      if (rest.lane[i] >= 0 && low <= high) out.lane[i] = (2u << (int(high) / 4)) - (1u << (int(low) / 4));
    }
    return out;
  }
  static Bits either(Bits a, Bits b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] |= b.lane[i];
    return a;
  }
  // The 32-bit block mask of one of the 8 tiles, from the masks of the 8 block rows.
  static uint32_t nibbles(Bits rows, int tile) {
    uint32_t out = 0;
    for (int i = 0; i < kLanes; ++i) out |= (rows.lane[i] >> (4 * tile) & 15u) << (4 * i);
    return out;
  }
  // Writes the pairs of each block, block by block; those of block k start at begin[k]. Returns the total number.
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
