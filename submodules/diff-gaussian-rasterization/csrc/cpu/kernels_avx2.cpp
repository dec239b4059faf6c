// Built with -mavx2 -mfma and called only where the processor has both.
#include <immintrin.h>

#include "tile_kernels_impl.h"

namespace gaussian::cpu {
namespace {

struct Avx2Lanes {
  using Real = float;
  using Mask = __m256;
  using Bits = __m256i;
  __m256 v;

  static Avx2Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Avx2Lanes broadcast(float f) { return {_mm256_set1_ps(f)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  friend Avx2Lanes operator+(Avx2Lanes a, Avx2Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Avx2Lanes operator-(Avx2Lanes a, Avx2Lanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Avx2Lanes operator*(Avx2Lanes a, Avx2Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Mask operator>=(Avx2Lanes a, Avx2Lanes b) { return _mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ); }
  friend Mask operator<(Avx2Lanes a, Avx2Lanes b) { return _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ); }
  static Avx2Lanes fma(Avx2Lanes a, Avx2Lanes b, Avx2Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Avx2Lanes fnma(Avx2Lanes a, Avx2Lanes b, Avx2Lanes c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
  static Avx2Lanes min(Avx2Lanes a, Avx2Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
  static Avx2Lanes max(Avx2Lanes a, Avx2Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
  static Avx2Lanes sqrt(Avx2Lanes a) { return {_mm256_sqrt_ps(a.v)}; }
  static Avx2Lanes select(Mask m, Avx2Lanes a, Avx2Lanes b) { return {_mm256_blendv_ps(b.v, a.v, m)}; }
  static Avx2Lanes where(Mask m, Avx2Lanes a) { return {_mm256_and_ps(m, a.v)}; }
  static bool any(Mask m) { return _mm256_movemask_ps(m) != 0; }
  bool any_positive() const { return any(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GT_OQ)); }

  // 2^x for -126 < x < 127; garbage, not a fault, outside. Nearest integer by the rounding of a large addition, then
  // the degree-5 polynomial of least relative error on [-1/2, 1/2] (7.5e-8 before rounding).
  static Avx2Lanes exp2(Avx2Lanes x) {
    const __m256 shift = _mm256_set1_ps(12582912.0f);  // 1.5 * 2^23
    const __m256 rounded = _mm256_add_ps(x.v, shift);
    const __m256 f = _mm256_sub_ps(x.v, _mm256_sub_ps(rounded, shift));
    __m256 p = _mm256_set1_ps(0.0013276472454890609f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.009675540961325169f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.05550713092088699f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.24022120237350464f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.6931469440460205f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(rounded), 23);
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent))};
  }

  static Bits column_blocks(Avx2Lanes first, Avx2Lanes last, Avx2Lanes rest) {
    const __m256 low = _mm256_max_ps(_mm256_ceil_ps(first.v), _mm256_setzero_ps());
    const __m256 high = _mm256_min_ps(_mm256_floor_ps(last.v), _mm256_set1_ps(15));
    const __m256 empty =
        _mm256_or_ps(_mm256_cmp_ps(low, high, _CMP_GT_OQ), _mm256_cmp_ps(rest.v, _mm256_setzero_ps(), _CMP_LT_OQ));
    const __m256i one = _mm256_set1_epi32(1), two = _mm256_set1_epi32(2);
    const __m256i bits = _mm256_sub_epi32(_mm256_sllv_epi32(two, _mm256_srai_epi32(_mm256_cvttps_epi32(high), 2)),
                                          _mm256_sllv_epi32(one, _mm256_srai_epi32(_mm256_cvttps_epi32(low), 2)));
    return _mm256_andnot_si256(_mm256_castps_si256(empty), bits);
  }
  static uint32_t nibbles(Bits even, Bits odd) {
    const __m256i place = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i lanes = _mm256_sllv_epi32(_mm256_or_si256(even, odd), place);
    __m128i half = _mm_or_si128(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    half = _mm_or_si128(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_or_si128(half, _mm_shuffle_epi32(half, 0xb1));
    return uint32_t(_mm_cvtsi128_si32(half));
  }
  static int popcount(uint32_t bits) { return __builtin_popcount(bits); }
  static void list_blocks(const Pair<float>* pairs, int count, uint32_t alive, uint8_t (*lists)[kBatch], int* lengths) {
    for (int k = 0; k < kBlocks; ++k) lengths[k] = 0;
    for (int i = 0; i < count; ++i)
      for (uint32_t bits = pairs[i].blocks & alive; bits; bits &= bits - 1) {
        const int k = __builtin_ctz(bits);
        lists[k][lengths[k]++] = uint8_t(i);
      }
  }
};

}  // namespace

const TileKernels<float>& avx2_kernels() { return TileKernelsOf<Avx2Lanes>::table; }

}  // namespace gaussian::cpu
