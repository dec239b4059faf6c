// The kernels of tile_kernels.h over a vector class `L` of 8 lanes. Included by one translation unit per instruction
// set. That unit may use only inlined functions of the standard library: the linker could pick its copy of any other
// for the whole program.
#pragma once

#include "../gaussian_math.h"
#include "tile_kernels.h"

namespace gaussian::cpu {

template <class L>
struct TileKernelsOf {
  using T = typename L::Real;

  // Pixel offsets of block `k` from the tile's centre.
  static L block_x(int k) { return L::broadcast(T(4 * (k % 4)) - T(7.5)) + L::load(kColumn); }
  static L block_y(int k) { return L::broadcast(T(2 * (k / 4)) - T(7.5)) + L::load(kRow); }
  alignas(64) static constexpr T kColumn[8] = {0, 1, 2, 3, 0, 1, 2, 3};
  alignas(64) static constexpr T kRow[8] = {0, 0, 0, 0, 1, 1, 1, 1};

  static void evaluate(const Pair<T>* pairs, int count, TileState<T>& state, Visits<T>& visits) {
    visits.size = L::list_blocks(pairs, count, state.alive, visits.index, visits.begin);
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = k + 1 < kBlocks ? visits.begin[k + 1] : visits.size;
      visits.end[k] = begin;
      if (begin == end) continue;
      visits.end[k] = visits.alpha ? evaluate_block<true>(pairs, k, begin, end, state, visits)
                                   : evaluate_block<false>(pairs, k, begin, end, state, visits);
      state.evaluated += visits.end[k] - begin;
    }
  }

  // Two visits at a time: their exponentials are independent, so interleaving them hides latency.
  template <bool kKeepAlpha>
  static int evaluate_block(const Pair<T>* pairs, int k, int begin, int end, TileState<T>& state,
                            const Visits<T>& visits) {
    const L x = block_x(k), y = block_y(k);
    const L minimum = L::broadcast(T(kMinTransmittance));
    const uint8_t* index = visits.index;
    T *weights = visits.weight, *alphas = visits.alpha;
    L running = L::load(state.running + kLanes * k), transmittance = L::load(state.transmittance + kLanes * k);
    auto blends = running >= minimum;
    const auto blend = [&](int v, L alpha) {
      // `running` never increases, so a value below the limit marks the pixel as terminated; no flag is needed.
      const L next = L::fnma(alpha, running, running);
      blends = next >= minimum;
      L::where(blends, alpha * running).store(weights + kLanes * int64_t(v));
      if constexpr (kKeepAlpha) L::where(blends, alpha).store(alphas + kLanes * int64_t(v));
      transmittance = choose(blends, next, transmittance);
      running = next;
    };
    int v = begin;
    for (; v + 1 < end; v += 2) {
      L alpha[2];
      alphas_of(pairs[index[v]], pairs[index[v + 1]], x, y, alpha);
      blend(v, alpha[0]);
      blend(v + 1, alpha[1]);
      if (!L::any(blends)) break;
    }
    if (v + 1 == end && L::any(blends)) {
      L alpha[2];
      alphas_of(pairs[index[v]], pairs[index[v]], x, y, alpha);
      blend(v, alpha[0]);
    }
    if (!L::any(blends)) state.alive &= ~(1u << k);
    running.store(state.running + kLanes * k);
    transmittance.store(state.transmittance + kLanes * k);
    return v + 2 < end ? v + 2 : end;
  }

  static void alphas_of(const Pair<T>& first, const Pair<T>& second, L x, L y, L* alpha) {
    using W = typename L::Wide;
    const auto both = [&](T Pair<T>::* field) { return W::both(first.*field, second.*field); };
    W t1 = W::fma(both(&Pair<T>::ux), W::twice(x), both(&Pair<T>::a0));
    const W t2 = W::fma(both(&Pair<T>::vy), W::twice(y), both(&Pair<T>::b0));
    t1 = W::fma(both(&Pair<T>::uy), W::twice(y), t1);
    const W exponent = W::fnma(t1, t1, W::fnma(t2, t2, both(&Pair<T>::log2_opacity)));
    const W blended =
        W::where(exponent >= W::broadcast(T(kLog2MinAlpha)), smaller(exp2(exponent), W::broadcast(T(kMaxAlpha))));
    alpha[0] = blended.low(), alpha[1] = blended.high();
  }

  template <int C>
  static void accumulate_channels(const Visits<T>& visits, const T* features, T* accumulators) {
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.end[k];
      if (begin == end) continue;
      L sums[C];
      for (int c = 0; c < C; ++c) sums[c] = L::load(accumulators + kTilePixels * c + kLanes * k);
      for (int v = begin; v < end; ++v) {
        const L weight = L::load(visits.weight + kLanes * int64_t(v));
        const T* feature = features + C * visits.index[v];
        for (int c = 0; c < C; ++c) sums[c] = L::fma(weight, L::broadcast(feature[c]), sums[c]);
      }
      for (int c = 0; c < C; ++c) sums[c].store(accumulators + kTilePixels * c + kLanes * k);
    }
  }

  template <int C>
  static void dot_channels(const Visits<T>& visits, const T* features, const T* values, bool add, T* products) {
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.end[k];
      if (begin == end) continue;
      L value[C];
      for (int c = 0; c < C; ++c) value[c] = L::load(values + kTilePixels * c + kLanes * k);
      for (int v = begin; v < end; ++v) {
        T* product = products + kLanes * int64_t(v);
        const T* feature = features + C * visits.index[v];
        L sum = add ? L::load(product) : L::broadcast(0);
        for (int c = 0; c < C; ++c) sum = L::fma(value[c], L::broadcast(feature[c]), sum);
        sum.store(product);
      }
    }
  }

  static void accumulate(const Visits<T>& visits, const T* features, int channels, T* accumulators) {
    switch (channels) {
#define CASE(C) \
  case C:       \
    return accumulate_channels<C>(visits, features, accumulators);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#undef CASE
    }
  }

  static void dot(const Visits<T>& visits, const T* features, int channels, const T* values, bool add, T* products) {
    switch (channels) {
#define CASE(C) \
  case C:       \
    return dot_channels<C>(visits, features, values, add, products);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#undef CASE
    }
  }

  static void differentiate(const Visits<T>& visits, T* behind, T* products) {
    const L maximum = L::broadcast(T(kMaxAlpha));
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.end[k];
      if (begin == end) continue;
      // With B = `behind`, d = product and transmittance T, the derivative with respect to alpha is T (d - B); in front
      // of the visit B becomes alpha d + (1 - alpha) B. This avoids dividing by 1 - alpha and subtracting from a total.
      L b = L::load(behind + kLanes * k);
      for (int v = end - 1; v >= begin; --v) {
        T* product = products + kLanes * int64_t(v);
        const L alpha = L::load(visits.alpha + kLanes * int64_t(v));
        const L difference = L::load(product) - b;
        b = L::fma(alpha, difference, b);
        L::where(alpha < maximum, difference * L::load(visits.weight + kLanes * int64_t(v))).store(product);
      }
      b.store(behind + kLanes * k);
    }
  }

  static void scatter8(const Visits<T>& visits, const T* factors, const T* values, T* sums) {
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.end[k];
      if (begin == end) continue;
      L value[kLanes];
      for (int p = 0; p < kLanes; ++p) value[p] = L::load(values + kLanes * (kLanes * k + p));
      for (int v = begin; v < end; ++v) {
        const T* factor = factors + kLanes * int64_t(v);
        T* sum = sums + kLanes * visits.index[v];
        L even = L::fma(L::broadcast(factor[0]), value[0], L::load(sum)), odd = L::broadcast(factor[1]) * value[1];
        for (int p = 2; p < kLanes; p += 2) {
          even = L::fma(L::broadcast(factor[p]), value[p], even);
          odd = L::fma(L::broadcast(factor[p + 1]), value[p + 1], odd);
        }
        (even + odd).store(sum);
      }
    }
  }

  static void scatter16(const Visits<T>& visits, const T* factors, const T* values, T* sums) {
    using W = typename L::Wide;
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.end[k];
      if (begin == end) continue;
      W value[kLanes];
      for (int p = 0; p < kLanes; ++p) value[p] = W::load(values + 2 * kLanes * (kLanes * k + p));
      for (int v = begin; v < end; ++v) {
        const T* factor = factors + kLanes * int64_t(v);
        T* sum = sums + 2 * kLanes * visits.index[v];
        W even = W::fma(W::broadcast(factor[0]), value[0], W::load(sum)), odd = W::broadcast(factor[1]) * value[1];
        for (int p = 2; p < kLanes; p += 2) {
          even = W::fma(W::broadcast(factor[p]), value[p], even);
          odd = W::fma(W::broadcast(factor[p + 1]), value[p + 1], odd);
        }
        (even + odd).store(sum);
      }
    }
  }

  static void scatter1(const Visits<T>& visits, const T* factors, const T* values, T* sums) {
    for (int k = 0; k < kBlocks; ++k) {
      const L value = L::load(values + kLanes * k);
      for (int v = visits.begin[k]; v < visits.end[k]; ++v) {
        T* sum = sums + kLanes * visits.index[v];
        L::fma(L::load(factors + kLanes * int64_t(v)), value, L::load(sum)).store(sum);
      }
    }
  }

  // Eight visits at a time, so that the sum over lanes takes few instructions per visit.
  static void sum_regions(const Visits<T>& visits, const TileRegions<T>& regions, T* sums) {
    const int32_t stride = regions.count;
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.end[k];
      if (begin == end) continue;
      for (int part = regions.part_begin[k]; part < regions.part_begin[k + 1]; ++part) {
        const L lanes = L::load(regions.part_lanes + kLanes * part);
        T* column = sums + regions.part_region[part];
        for (int v = begin; v < end; v += kLanes) {
          const int count = end - v < kLanes ? end - v : kLanes;
          L weight[kLanes];
          for (int i = 0; i < kLanes; ++i)
            weight[i] = i < count ? L::load(visits.weight + kLanes * int64_t(v + i)) * lanes : L(0);
          alignas(64) T sum[kLanes];
          L::lane_sums(weight).store(sum);
          for (int i = 0; i < count; ++i) column[stride * visits.index[v + i]] += sum[i];
        }
      }
    }
  }

  static void round_weights(T* weights, int64_t count) {
    for (T* end = weights + kLanes * count; weights < end; weights += kLanes)
      round_to_half(L::load(weights)).store(weights);
  }
  static void pack_weights(const T* rounded, int64_t count, uint16_t* out) {
    for (int64_t i = 0; i < kLanes * count; i += kLanes) L::load(rounded + i).store_half(out + i);
  }
  static void unpack_weights(const uint16_t* packed, int64_t count, T* out) {
    for (int64_t i = 0; i < kLanes * count; i += kLanes) L::load_half(packed + i).store(out + i);
  }

  static constexpr TileKernels<T> table = {
      evaluate,    accumulate,    dot,          differentiate, L::kScatter16 ? scatter16 : nullptr, scatter8, scatter1,
      sum_regions, round_weights, pack_weights, unpack_weights};
};

}  // namespace gaussian::cpu
