// 8 lanes as two NEON registers of 4, for arm64, where NEON and fused multiply-add are always present.
#pragma once

#include <arm_neon.h>

#include <type_traits>

#include "block_runs.h"
#include "half_weights.h"
#include "tile_kernels.h"
#include "two_vectors.h"

namespace gaussian::cpu {
namespace {

struct NeonLanes {
  using Real = float;
  struct Mask {
    uint32x4_t v[2];
    friend Mask operator&(Mask a, Mask b) { return {vandq_u32(a.v[0], b.v[0]), vandq_u32(a.v[1], b.v[1])}; }
    friend Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.v[0], b.v[0]), vorrq_u32(a.v[1], b.v[1])}; }
    friend Mask operator!(Mask a) { return {vmvnq_u32(a.v[0]), vmvnq_u32(a.v[1])}; }
  };
  using Bits = Mask;
  using Wide = TwoVectors<NeonLanes>;
  static constexpr bool kWide = true;
  static constexpr bool kScatter16 = true;  // 8 rows of 16 channels take all 32 registers
  float32x4_t v[2];

  NeonLanes() = default;
  NeonLanes(float32x4_t low, float32x4_t high) : v{low, high} {}
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  NeonLanes(Number number) : v{vdupq_n_f32(float(number)), vdupq_n_f32(float(number))} {}

  static NeonLanes load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static NeonLanes broadcast(float f) { return NeonLanes(f); }
  void store(float* p) const { vst1q_f32(p, v[0]), vst1q_f32(p + 4, v[1]); }
  friend NeonLanes operator+(NeonLanes a, NeonLanes b) {
    return {vaddq_f32(a.v[0], b.v[0]), vaddq_f32(a.v[1], b.v[1])};
  }
  friend NeonLanes operator-(NeonLanes a, NeonLanes b) {
    return {vsubq_f32(a.v[0], b.v[0]), vsubq_f32(a.v[1], b.v[1])};
  }
  friend NeonLanes operator*(NeonLanes a, NeonLanes b) {
    return {vmulq_f32(a.v[0], b.v[0]), vmulq_f32(a.v[1], b.v[1])};
  }
  friend NeonLanes operator/(NeonLanes a, NeonLanes b) {
    return {vdivq_f32(a.v[0], b.v[0]), vdivq_f32(a.v[1], b.v[1])};
  }
  friend NeonLanes operator-(NeonLanes a) { return {vnegq_f32(a.v[0]), vnegq_f32(a.v[1])}; }
  friend Mask operator>=(NeonLanes a, NeonLanes b) { return {vcgeq_f32(a.v[0], b.v[0]), vcgeq_f32(a.v[1], b.v[1])}; }
  friend Mask operator<=(NeonLanes a, NeonLanes b) { return {vcleq_f32(a.v[0], b.v[0]), vcleq_f32(a.v[1], b.v[1])}; }
  friend Mask operator<(NeonLanes a, NeonLanes b) { return {vcltq_f32(a.v[0], b.v[0]), vcltq_f32(a.v[1], b.v[1])}; }
  friend Mask operator>(NeonLanes a, NeonLanes b) { return {vcgtq_f32(a.v[0], b.v[0]), vcgtq_f32(a.v[1], b.v[1])}; }
  static NeonLanes fma(NeonLanes a, NeonLanes b, NeonLanes c) {
    return {vfmaq_f32(c.v[0], a.v[0], b.v[0]), vfmaq_f32(c.v[1], a.v[1], b.v[1])};
  }
  static NeonLanes fnma(NeonLanes a, NeonLanes b, NeonLanes c) {
    return {vfmsq_f32(c.v[0], a.v[0], b.v[0]), vfmsq_f32(c.v[1], a.v[1], b.v[1])};
  }
  // Comparisons, because NEON's minimum of a number and NaN is NaN where the other lanes give the second operand.
  friend NeonLanes smaller(NeonLanes a, NeonLanes b) { return choose(a < b, a, b); }
  friend NeonLanes larger(NeonLanes a, NeonLanes b) { return choose(a > b, a, b); }
  friend NeonLanes sqrt(NeonLanes a) { return {vsqrtq_f32(a.v[0]), vsqrtq_f32(a.v[1])}; }
  friend NeonLanes ceil(NeonLanes a) { return {vrndpq_f32(a.v[0]), vrndpq_f32(a.v[1])}; }
  friend NeonLanes floor(NeonLanes a) { return {vrndmq_f32(a.v[0]), vrndmq_f32(a.v[1])}; }
  friend Mask finite(NeonLanes a) {
    const NeonLanes zero = a - a;  // NaN for NaN and infinities
    return {vceqzq_f32(zero.v[0]), vceqzq_f32(zero.v[1])};
  }
  friend NeonLanes choose(Mask m, NeonLanes yes, NeonLanes no) {
    return {vbslq_f32(m.v[0], yes.v[0], no.v[0]), vbslq_f32(m.v[1], yes.v[1], no.v[1])};
  }
  static NeonLanes where(Mask m, NeonLanes a) {
    return from_bits({vandq_u32(m.v[0], a.bits(0)), vandq_u32(m.v[1], a.bits(1))});
  }
  static uint32_t bits(Mask m) {
    const uint32x4_t low = vandq_u32(m.v[0], lane_bits(0)), high = vandq_u32(m.v[1], lane_bits(4));
    return vaddvq_u32(vorrq_u32(low, high));
  }
  static bool any(Mask m) { return vmaxvq_u32(vorrq_u32(m.v[0], m.v[1])) != 0; }
  void store_integers(int32_t* p) const { vst1q_s32(p, vcvtq_s32_f32(v[0])), vst1q_s32(p + 4, vcvtq_s32_f32(v[1])); }

  // The bits of half a vector, and a vector of given bits.
  uint32x4_t bits(int half) const { return vreinterpretq_u32_f32(v[half]); }
  static NeonLanes from_bits(Mask m) { return {vreinterpretq_f32_u32(m.v[0]), vreinterpretq_f32_u32(m.v[1])}; }
  // 1 << (first + lane), and first + lane.
  static uint32x4_t lane_bits(int first) {
    return vshlq_u32(vdupq_n_u32(1), vreinterpretq_s32_u32(ramp(uint32_t(first))));
  }
  static uint32x4_t ramp(uint32_t first) {
    const uint32_t numbers[4] = {first, first + 1, first + 2, first + 3};
    return vld1q_u32(numbers);
  }

  // See half_weights.h.
  friend NeonLanes round_to_half(NeonLanes a) {
    Mask out;
    for (int i = 0; i < 2; ++i) {
      const uint32x4_t odd = vandq_u32(vshrq_n_u32(a.bits(i), kHalfShift), vdupq_n_u32(1));
      const uint32x4_t sum = vaddq_u32(a.bits(i), vaddq_u32(vdupq_n_u32(kHalfDropped >> 1), odd));
      out.v[i] = vbicq_u32(sum, vdupq_n_u32(kHalfDropped));
    }
    return from_bits(out);
  }
  static NeonLanes load_half(const uint16_t* p) {
    const uint16x8_t halves = vld1q_u16(p);
    return from_bits({vshlq_n_u32(vmovl_u16(vget_low_u16(halves)), kHalfShift),
                      vshlq_n_u32(vmovl_high_u16(halves), kHalfShift)}) *
           NeonLanes(kHalfScale);
  }
  void store_half(uint16_t* p) const {
    const NeonLanes scaled = *this * NeonLanes(1 / kHalfScale);
    vst1q_u16(p, vshrn_high_n_u32(vshrn_n_u32(scaled.bits(0), kHalfShift), scaled.bits(1), kHalfShift));
  }

  // See Avx2Lanes: the same polynomials.
  friend NeonLanes log2(NeonLanes x) {
    NeonLanes m, exponents;
    for (int i = 0; i < 2; ++i) {
      const int32x4_t bits = vreinterpretq_s32_f32(x.v[i]);
      const int32x4_t exponent = vshrq_n_s32(vsubq_s32(bits, vdupq_n_s32(0x3f3504f3)), 23);
      m.v[i] = vreinterpretq_f32_s32(vsubq_s32(bits, vshlq_n_s32(exponent, 23)));
      exponents.v[i] = vcvtq_f32_s32(exponent);
    }
    const NeonLanes s = (m - 1) / (m + 1), s2 = s * s;
    NeonLanes p = fma(0.43173596262931824f, s2, 0.5767143964767456f);
    p = fma(p, s2, 0.9617988467216492f);
    p = fma(p, s2, 2.885390043258667f);
    return fma(s, p, exponents);
  }
  static void exp2(const NeonLanes* x, NeonLanes* out) {
    constexpr float kExp2[] = {0.0013276472454890609f, 0.009675540961325169f, 0.05550713092088699f,
                               0.24022120237350464f,   0.6931469440460205f,   1.0f};
    const NeonLanes shift = 12582912.0f;  // 1.5 * 2^23
    for (int j = 0; j < 2; ++j) {
      const NeonLanes rounded = x[j] + shift, f = x[j] - (rounded - shift);
      NeonLanes p = kExp2[0];
      for (int term = 1; term < 6; ++term) p = fma(p, f, kExp2[term]);
      for (int i = 0; i < 2; ++i)
        out[j].v[i] = vreinterpretq_f32_u32(vaddq_u32(p.bits(i), vshlq_n_u32(rounded.bits(i), 23)));
    }
  }

  // Lane i holds the integer first + i, as bits.
  static NeonLanes integers(uint32_t first) { return from_bits({ramp(first), ramp(first + 4)}); }

  // Loads 8 rows of 3 or 4 numbers and returns the columns.
  static void load_columns3(const float* p, NeonLanes* out) {
    const float32x4x3_t low = vld3q_f32(p), high = vld3q_f32(p + 12);
    for (int i = 0; i < 3; ++i) out[i] = {low.val[i], high.val[i]};
  }
  static void load_columns4(const float* p, NeonLanes* out) {
    const float32x4x4_t low = vld4q_f32(p), high = vld4q_f32(p + 16);
    for (int i = 0; i < 4; ++i) out[i] = {low.val[i], high.val[i]};
  }
  static void transpose4(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d, float32x4_t* out) {
    const auto pairs = [](float32x4_t x) { return vreinterpretq_f64_f32(x); };
    const float64x2_t ab = pairs(vtrn1q_f32(a, b)), cd = pairs(vtrn1q_f32(c, d));
    const float64x2_t ab_odd = pairs(vtrn2q_f32(a, b)), cd_odd = pairs(vtrn2q_f32(c, d));
    out[0] = vreinterpretq_f32_f64(vtrn1q_f64(ab, cd)), out[1] = vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd));
    out[2] = vreinterpretq_f32_f64(vtrn2q_f64(ab, cd)), out[3] = vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd));
  }
  static void transpose8(const NeonLanes* in, NeonLanes* out) {
    float32x4_t quarter[4];
    for (int row = 0; row < 2; ++row)
      for (int column = 0; column < 2; ++column) {
        const NeonLanes* from = in + 4 * column;
        transpose4(from[0].v[row], from[1].v[row], from[2].v[row], from[3].v[row], quarter);
        for (int i = 0; i < 4; ++i) out[4 * row + i].v[column] = quarter[i];
      }
  }

  // Lane i is the sum over the lanes of in[i].
  static NeonLanes lane_sums(const NeonLanes* in) {
    const auto four = [](const NeonLanes* from) {
      float32x4_t sum[4];
      for (int i = 0; i < 4; ++i) sum[i] = vaddq_f32(from[i].v[0], from[i].v[1]);
      return vpaddq_f32(vpaddq_f32(sum[0], sum[1]), vpaddq_f32(sum[2], sum[3]));
    };
    return {four(in), four(in + 4)};
  }

  // See ScalarLanes.
  static Bits column_blocks(NeonLanes first, NeonLanes last, NeonLanes rest) {
    const NeonLanes low = larger(ceil(first), 0), high = smaller(floor(last), 127);
    const Mask empty = (low > high) | (rest < 0);
    Bits out;
    for (int i = 0; i < 2; ++i) {
      const int32x4_t begin = vshrq_n_s32(vcvtq_s32_f32(low.v[i]), 2), end = vshrq_n_s32(vcvtq_s32_f32(high.v[i]), 2);
      const uint32x4_t bits = vsubq_u32(vshlq_u32(vdupq_n_u32(2), end), vshlq_u32(vdupq_n_u32(1), begin));
      out.v[i] = vbicq_u32(bits, empty.v[i]);
    }
    return out;
  }
  static Bits either(Bits a, Bits b) { return a | b; }
  static uint32_t nibbles(Bits rows, int tile) {
    const int32_t places[kLanes] = {0, 4, 8, 12, 16, 20, 24, 28};
    uint32x4_t lanes[2];
    for (int i = 0; i < 2; ++i) {
      const uint32x4_t tile_bits = vandq_u32(vshlq_u32(rows.v[i], vdupq_n_s32(-4 * tile)), vdupq_n_u32(15));
      lanes[i] = vshlq_u32(tile_bits, vld1q_s32(places + 4 * i));
    }
    return vaddvq_u32(vorrq_u32(lanes[0], lanes[1]));
  }

  // See ScalarLanes. The masks of 32 pairs are transposed to one word per block.
  static int list_blocks(const Pair<float>* pairs, int count, uint32_t alive, uint8_t* index, int32_t* begin) {
    uint8_t words[kBlocks][kBatch / 8];
    const int groups = (count + 31) / 32;
    for (int group = 0; group < groups; ++group) {
      uint32_t masks[32];
      const Pair<float>* first = pairs + 32 * group;
      const int length = count - 32 * group < 32 ? count - 32 * group : 32;
      for (int i = 0; i < length; ++i) masks[i] = first[i].blocks & alive;
      for (int i = length; i < 32; ++i) masks[i] = 0;
      transpose(masks, group, words);
    }
    return list_runs(words, 4 * groups, index, begin);
  }

  // words[k][4 group ..] = bit k of 32 masks.
  static void transpose(const uint32_t* masks, int group, uint8_t (*words)[kBatch / 8]) {
    const uint8_t places[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t place = vld1q_u8(places);
    // val[b]: byte b of 16 masks
    const uint8x16x4_t low = vld4q_u8(reinterpret_cast<const uint8_t*>(masks));
    const uint8x16x4_t high = vld4q_u8(reinterpret_cast<const uint8_t*>(masks + 16));
    for (int byte = 0; byte < 4; ++byte)
      for (int bit = 0; bit < 8; ++bit) {
        const uint8x16_t chosen = vdupq_n_u8(uint8_t(1 << bit));
        uint8x16_t sum = vpaddq_u8(vandq_u8(vtstq_u8(low.val[byte], chosen), place),
                                   vandq_u8(vtstq_u8(high.val[byte], chosen), place));
        sum = vpaddq_u8(sum, sum);
        sum = vpaddq_u8(sum, sum);
        const uint32_t word = vgetq_lane_u32(vreinterpretq_u32_u8(sum), 0);
        __builtin_memcpy(words[8 * byte + bit] + 4 * group, &word, 4);
      }
  }
};

}  // namespace
}  // namespace gaussian::cpu
