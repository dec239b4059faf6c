// 8 lanes of AVX2, and 16 lanes as two such vectors or, if the including file is built for AVX-512, one register. In an
// unnamed namespace, so that each including file gets a separate copy of the kernels.
#pragma once

#include <immintrin.h>

#include <type_traits>

#include "block_runs.h"
#include "half_weights.h"
#include "tile_kernels.h"
#include "two_vectors.h"

namespace gaussian::cpu {
namespace {

#ifdef __AVX512F__
struct Avx512Lanes;
#endif

// A comparison of 8 lanes: a mask register where there are any, else a vector of ones and zeros.
struct Mask8 {
#ifdef __AVX512F__
  __mmask8 v;
  friend Mask8 operator&(Mask8 a, Mask8 b) { return {__mmask8(a.v & b.v)}; }
  friend Mask8 operator|(Mask8 a, Mask8 b) { return {__mmask8(a.v | b.v)}; }
  friend Mask8 operator!(Mask8 a) { return {__mmask8(~a.v)}; }
  template <int kComparison>
  static Mask8 compare(__m256 a, __m256 b) {
    return {_mm256_cmp_ps_mask(a, b, kComparison)};
  }
  __m256 choose(__m256 yes, __m256 no) const { return _mm256_mask_mov_ps(no, v, yes); }
  __m256 where(__m256 a) const { return _mm256_maskz_mov_ps(v, a); }
  uint32_t bits() const { return v; }
#else
  __m256 v;
  friend Mask8 operator&(Mask8 a, Mask8 b) { return {_mm256_and_ps(a.v, b.v)}; }
  friend Mask8 operator|(Mask8 a, Mask8 b) { return {_mm256_or_ps(a.v, b.v)}; }
  friend Mask8 operator!(Mask8 a) { return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
  template <int kComparison>
  static Mask8 compare(__m256 a, __m256 b) {
    return {_mm256_cmp_ps(a, b, kComparison)};
  }
  __m256 choose(__m256 yes, __m256 no) const { return _mm256_blendv_ps(no, yes, v); }
  __m256 where(__m256 a) const { return _mm256_and_ps(v, a); }
  uint32_t bits() const { return uint32_t(_mm256_movemask_ps(v)); }
#endif
};

struct Avx2Lanes {
  using Real = float;
  using Mask = Mask8;
  using Bits = __m256i;
  static constexpr bool kWide = true;
#ifdef __AVX512F__
  using Wide = Avx512Lanes;
  static constexpr bool kScatter16 = true;
#else
  using Wide = TwoVectors<Avx2Lanes>;
  static constexpr bool kScatter16 = false;  // needs more than 16 registers
#endif
  __m256 v;

  Avx2Lanes() = default;
  Avx2Lanes(__m256 lanes) : v(lanes) {}
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  Avx2Lanes(Number number) : v(_mm256_set1_ps(float(number))) {}

  static Avx2Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Avx2Lanes broadcast(float f) { return {_mm256_set1_ps(f)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  friend Avx2Lanes operator+(Avx2Lanes a, Avx2Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Avx2Lanes operator-(Avx2Lanes a, Avx2Lanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Avx2Lanes operator*(Avx2Lanes a, Avx2Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Avx2Lanes operator/(Avx2Lanes a, Avx2Lanes b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend Avx2Lanes operator-(Avx2Lanes a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
  friend Mask operator>=(Avx2Lanes a, Avx2Lanes b) { return Mask::compare<_CMP_GE_OQ>(a.v, b.v); }
  friend Mask operator<=(Avx2Lanes a, Avx2Lanes b) { return Mask::compare<_CMP_LE_OQ>(a.v, b.v); }
  friend Mask operator<(Avx2Lanes a, Avx2Lanes b) { return Mask::compare<_CMP_LT_OQ>(a.v, b.v); }
  friend Mask operator>(Avx2Lanes a, Avx2Lanes b) { return Mask::compare<_CMP_GT_OQ>(a.v, b.v); }
  static Avx2Lanes fma(Avx2Lanes a, Avx2Lanes b, Avx2Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Avx2Lanes fnma(Avx2Lanes a, Avx2Lanes b, Avx2Lanes c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
  friend Avx2Lanes smaller(Avx2Lanes a, Avx2Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
  friend Avx2Lanes larger(Avx2Lanes a, Avx2Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
  friend Avx2Lanes sqrt(Avx2Lanes a) { return {_mm256_sqrt_ps(a.v)}; }
  friend Avx2Lanes ceil(Avx2Lanes a) { return {_mm256_ceil_ps(a.v)}; }
  friend Avx2Lanes floor(Avx2Lanes a) { return {_mm256_floor_ps(a.v)}; }
  friend Mask finite(Avx2Lanes a) { return Mask::compare<_CMP_EQ_OQ>((a - a).v, _mm256_setzero_ps()); }
  friend Avx2Lanes choose(Mask m, Avx2Lanes yes, Avx2Lanes no) { return {m.choose(yes.v, no.v)}; }
  static Avx2Lanes where(Mask m, Avx2Lanes a) { return {m.where(a.v)}; }
  static uint32_t bits(Mask m) { return m.bits(); }
  static bool any(Mask m) { return bits(m) != 0; }
  void store_integers(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvttps_epi32(v)); }

  // See half_weights.h.
  friend Avx2Lanes round_to_half(Avx2Lanes a) {
    const __m256i bits = _mm256_castps_si256(a.v), odd = _mm256_set1_epi32(1);
    const __m256i half = _mm256_add_epi32(_mm256_set1_epi32(kHalfDropped >> 1),
                                          _mm256_and_si256(_mm256_srli_epi32(bits, kHalfShift), odd));
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_set1_epi32(kHalfDropped), _mm256_add_epi32(bits, half)));
  }
  static Avx2Lanes load_half(const uint16_t* p) {
    const __m256i halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return Avx2Lanes(_mm256_castsi256_ps(_mm256_slli_epi32(halves, kHalfShift))) * Avx2Lanes(kHalfScale);
  }
  void store_half(uint16_t* p) const {
    const __m256i bits = _mm256_srli_epi32(_mm256_castps_si256((*this * Avx2Lanes(1 / kHalfScale)).v), kHalfShift);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
  }

  // For positive normal numbers. With x = 2^e m and s = (m - 1) / (m + 1), log2 m is odd in s: the polynomial in s^2 of
  // minimum relative error (7e-10) for m in [sqrt(1/2), sqrt(2)].
  friend Avx2Lanes log2(Avx2Lanes x) {
    const __m256i bits = _mm256_castps_si256(x.v);
    const __m256i exponent = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f3504f3)), 23);
    const Avx2Lanes m = _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(exponent, 23)));
    const Avx2Lanes s = (m - 1) / (m + 1), s2 = s * s;
    Avx2Lanes p = fma(0.43173596262931824f, s2, 0.5767143964767456f);
    p = fma(p, s2, 0.9617988467216492f);
    p = fma(p, s2, 2.885390043258667f);
    return fma(s, p, _mm256_cvtepi32_ps(exponent));
  }

  // Lane i holds the integer first + i, as bits.
  static Avx2Lanes integers(uint32_t first) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_set1_epi32(int32_t(first)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
  }

  // Loads 8 rows of 3 numbers and returns the columns. The halves of a vector hold rows 0 to 3 and 4 to 7.
  static void load_columns3(const float* p, Avx2Lanes* out) {
    __m256 v[3];  // x0 y0 z0 x1, y1 z1 x2 y2, z2 x3 y3 z3
    for (int i = 0; i < 3; ++i) v[i] = halves(p + 4 * i, p + 12 + 4 * i);
    const __m256 xy = _mm256_shuffle_ps(v[1], v[2], _MM_SHUFFLE(2, 1, 3, 2));  // x2 y2 x3 y3
    const __m256 yz = _mm256_shuffle_ps(v[0], v[1], _MM_SHUFFLE(1, 0, 2, 1));  // y0 z0 y1 z1
    out[0] = _mm256_shuffle_ps(v[0], xy, _MM_SHUFFLE(2, 0, 3, 0));
    out[1] = _mm256_shuffle_ps(yz, xy, _MM_SHUFFLE(3, 1, 2, 0));
    out[2] = _mm256_shuffle_ps(yz, v[2], _MM_SHUFFLE(3, 0, 3, 1));
  }
  static void load_columns4(const float* p, Avx2Lanes* out) {
    __m256 row[4];
    for (int i = 0; i < 4; ++i) row[i] = halves(p + 4 * i, p + 16 + 4 * i);
    transpose4(row[0], row[1], row[2], row[3], out);
  }
  static __m256 halves(const float* low, const float* high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
  }
  // 4x4 transpose within each 128-bit half.
  static void transpose4(__m256 a, __m256 b, __m256 c, __m256 d, Avx2Lanes* out) {
    const __m256 ab = _mm256_unpacklo_ps(a, b), cd = _mm256_unpacklo_ps(c, d);
    const __m256 ab_high = _mm256_unpackhi_ps(a, b), cd_high = _mm256_unpackhi_ps(c, d);
    out[0] = _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0));
    out[1] = _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2));
    out[2] = _mm256_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(1, 0, 1, 0));
    out[3] = _mm256_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(3, 2, 3, 2));
  }
  static void transpose8(const Avx2Lanes* in, Avx2Lanes* out) {
    Avx2Lanes low[4], high[4];  // columns 0 to 3 and 4 to 7 of rows i and i + 4
    transpose4(in[0].v, in[1].v, in[2].v, in[3].v, low);
    transpose4(in[4].v, in[5].v, in[6].v, in[7].v, high);
    for (int i = 0; i < 4; ++i) {
      out[i] = _mm256_permute2f128_ps(low[i].v, high[i].v, 0x20);
      out[i + 4] = _mm256_permute2f128_ps(low[i].v, high[i].v, 0x31);
    }
  }

  // Lane i is the sum over the lanes of in[i].
  static Avx2Lanes lane_sums(const Avx2Lanes* in) {
    __m256 half[2];  // sums over each half of the vectors 4 i to 4 i + 3
    for (int i = 0; i < 2; ++i) {
      const __m256 a = in[4 * i].v, b = in[4 * i + 1].v, c = in[4 * i + 2].v, d = in[4 * i + 3].v;
      const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
      const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
      half[i] = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
                              _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
    }
    return _mm256_add_ps(_mm256_permute2f128_ps(half[0], half[1], 0x20),
                         _mm256_permute2f128_ps(half[0], half[1], 0x31));
  }

  // 2^x of two vectors, for -126 < x < 127; outside, the result is undefined but does not trap. Rounds to the nearest
  // integer by adding a large number, then evaluates the degree-5 polynomial of minimum relative error on [-1/2, 1/2]
  // (1.2e-7 with rounding).
  static constexpr float kExp2[] = {0.0013276472454890609f, 0.009675540961325169f, 0.05550713092088699f,
                                    0.24022120237350464f,   0.6931469440460205f,   1.0f};
  static constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  static void exp2(const Avx2Lanes* x, Avx2Lanes* out) {
    const __m256 shift = _mm256_set1_ps(kShift);
    __m256 rounded[2], f[2], p[2];
    for (int i = 0; i < 2; ++i) rounded[i] = _mm256_add_ps(x[i].v, shift);
    for (int i = 0; i < 2; ++i) f[i] = _mm256_sub_ps(x[i].v, _mm256_sub_ps(rounded[i], shift));
    for (int i = 0; i < 2; ++i) p[i] = _mm256_set1_ps(kExp2[0]);
    for (int term = 1; term < 6; ++term)
      for (int i = 0; i < 2; ++i) p[i] = _mm256_fmadd_ps(p[i], f[i], _mm256_set1_ps(kExp2[term]));
    for (int i = 0; i < 2; ++i) {
      const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(rounded[i]), 23);
      out[i].v = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p[i]), exponent));
    }
  }

  // See ScalarLanes.
  static Bits column_blocks(Avx2Lanes first, Avx2Lanes last, Avx2Lanes rest) {
    const Avx2Lanes low = larger(ceil(first), 0), high = smaller(floor(last), 127);
    const Mask empty = (low > high) | (rest < 0);
    const __m256i one = _mm256_set1_epi32(1), two = _mm256_set1_epi32(2);
    const __m256i bits = _mm256_sub_epi32(_mm256_sllv_epi32(two, _mm256_srai_epi32(_mm256_cvttps_epi32(high.v), 2)),
                                          _mm256_sllv_epi32(one, _mm256_srai_epi32(_mm256_cvttps_epi32(low.v), 2)));
    return _mm256_castps_si256((!empty).where(_mm256_castsi256_ps(bits)));
  }
  static Bits either(Bits a, Bits b) { return _mm256_or_si256(a, b); }
  static uint32_t nibbles(Bits rows, int tile) {
    const __m256i place = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i tile_bits =
        _mm256_and_si256(_mm256_srl_epi32(rows, _mm_cvtsi32_si128(4 * tile)), _mm256_set1_epi32(15));
    const __m256i lanes = _mm256_sllv_epi32(tile_bits, place);
    __m128i half = _mm_or_si128(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    half = _mm_or_si128(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_or_si128(half, _mm_shuffle_epi32(half, 0xb1));
    return uint32_t(_mm_cvtsi128_si32(half));
  }

  // See ScalarLanes. The masks of 32 pairs are transposed to one word per block.
  static int list_blocks(const Pair<float>* pairs, int count, uint32_t alive, uint8_t* index, int32_t* begin) {
    alignas(32) uint8_t words[kBlocks][kBatch / 8];
    const int groups = (count + 31) / 32;
    for (int group = 0; group < groups; ++group) {
      alignas(32) uint32_t masks[32];
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
    const __m256i by_byte = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                             0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m256i row[4];
    for (int i = 0; i < 4; ++i)
      row[i] = _mm256_shuffle_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(masks) + i), by_byte);
    const __m256i low01 = _mm256_unpacklo_epi32(row[0], row[1]), high01 = _mm256_unpackhi_epi32(row[0], row[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(row[2], row[3]), high23 = _mm256_unpackhi_epi32(row[2], row[3]);
    __m256i plane[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                        _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int byte = 0; byte < 4; ++byte) {
      __m256i bits = _mm256_permutevar8x32_epi32(plane[byte], in_order);
      for (int bit = 7; bit >= 0; --bit) {
        const int word = _mm256_movemask_epi8(bits);
        __builtin_memcpy(words[8 * byte + bit] + 4 * group, &word, 4);
        bits = _mm256_add_epi8(bits, bits);
      }
    }
  }
};

#ifdef __AVX512F__
// 16 lanes in one register; see TwoVectors.
struct Avx512Lanes {
  using Mask = __mmask16;
  __m512 v;

  static Avx512Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Avx512Lanes broadcast(float f) { return {_mm512_set1_ps(f)}; }
  static Avx512Lanes both(float low, float high) {
    return {_mm512_mask_broadcastss_ps(_mm512_set1_ps(low), 0xff00, _mm_set_ss(high))};
  }
  static Avx512Lanes twice(Avx2Lanes a) { return {_mm512_broadcast_f32x8(a.v)}; }
  Avx2Lanes low() const { return _mm512_castps512_ps256(v); }
  Avx2Lanes high() const { return _mm512_extractf32x8_ps(v, 1); }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  friend Avx512Lanes operator+(Avx512Lanes a, Avx512Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Avx512Lanes operator*(Avx512Lanes a, Avx512Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Mask operator>=(Avx512Lanes a, Avx512Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }
  static Avx512Lanes fma(Avx512Lanes a, Avx512Lanes b, Avx512Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Avx512Lanes fnma(Avx512Lanes a, Avx512Lanes b, Avx512Lanes c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  friend Avx512Lanes smaller(Avx512Lanes a, Avx512Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Avx512Lanes where(Mask m, Avx512Lanes a) { return {_mm512_maskz_mov_ps(m, a.v)}; }
  friend Avx512Lanes exp2(Avx512Lanes x) {
    const __m512 shift = _mm512_set1_ps(Avx2Lanes::kShift);
    const __m512 rounded = _mm512_add_ps(x.v, shift), f = _mm512_sub_ps(x.v, _mm512_sub_ps(rounded, shift));
    __m512 p = _mm512_set1_ps(Avx2Lanes::kExp2[0]);
    for (int term = 1; term < 6; ++term) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(Avx2Lanes::kExp2[term]));
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(rounded), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent))};
  }
};
#endif

}  // namespace
}  // namespace gaussian::cpu
