// Built with -mavx2 -mfma and called only where the processor has both.
#include <immintrin.h>

#include "view_kernels_impl.h"

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

  // Two times 2^x for -126 < x < 127; garbage, not a fault, outside. Nearest integer by the rounding of a large
  // addition, then the degree-5 polynomial of least relative error on [-1/2, 1/2] (1.2e-7 with rounding).
  static void exp2(const Avx2Lanes* x, Avx2Lanes* out) {
    const __m256 shift = _mm256_set1_ps(12582912.0f);  // 1.5 * 2^23
    static constexpr float kPolynomial[] = {0.0013276472454890609f, 0.009675540961325169f, 0.05550713092088699f,
                                            0.24022120237350464f,   0.6931469440460205f,   1.0f};
    __m256 rounded[2], f[2], p[2];
    for (int i = 0; i < 2; ++i) rounded[i] = _mm256_add_ps(x[i].v, shift);
    for (int i = 0; i < 2; ++i) f[i] = _mm256_sub_ps(x[i].v, _mm256_sub_ps(rounded[i], shift));
    for (int i = 0; i < 2; ++i) p[i] = _mm256_set1_ps(kPolynomial[0]);
    for (int term = 1; term < 6; ++term)
      for (int i = 0; i < 2; ++i) p[i] = _mm256_fmadd_ps(p[i], f[i], _mm256_set1_ps(kPolynomial[term]));
    for (int i = 0; i < 2; ++i) {
      const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(rounded[i]), 23);
      out[i].v = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p[i]), exponent));
    }
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

  // See ScalarLanes. The masks of 32 pairs are transposed to one word per block, and every 8 bits of a word become a
  // run of bytes by table: no branch depends on the data.
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
    uint8_t* out = index;
    for (int k = 0; k < kBlocks; ++k) {
      begin[k] = int32_t(out - index);
      for (int byte = 0; byte < 4 * groups; ++byte) {
        const uint8_t bits = words[k][byte];
        const uint64_t run = kRuns.run[bits] + 0x0101010101010101u * uint64_t(8 * byte);
        __builtin_memcpy(out, &run, 8);
        out += __builtin_popcount(bits);
      }
    }
    return int(out - index);
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

  // For each byte, the positions of its set bits from the lowest, one per byte.
  struct Runs {
    uint64_t run[256];
    constexpr Runs() : run{} {
      for (int bits = 0; bits < 256; ++bits)
        for (int bit = 0, place = 0; bit < 8; ++bit)
          if (bits >> bit & 1) run[bits] |= uint64_t(bit) << (8 * place++);
    }
  };
  static const Runs kRuns;
};

constexpr Avx2Lanes::Runs Avx2Lanes::kRuns;

}  // namespace

const TileKernels<float>& avx2_kernels() { return TileKernelsOf<Avx2Lanes>::table; }

const ViewKernels<float>& avx2_view_kernels() { return ViewKernelsOf<Avx2Lanes>::table; }

}  // namespace gaussian::cpu
