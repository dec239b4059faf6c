// The kernels of tile_kernels.h over a vector class `L` of 8 lanes. Included by one translation unit per instruction
// set; that unit must use nothing from the standard library that is not inlined, or another unit could end up with its
// copy.
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
  alignas(64) static constexpr T kEvenRows[8] = {-7.5, -5.5, -3.5, -1.5, 0.5, 2.5, 4.5, 6.5};

  static void make_pair(const T* splat, T reach, T center_x, T center_y, Pair<T>& pair) {
    const T dx = center_x - splat[0], dy = center_y - splat[1];
    pair.ux = splat[2], pair.uy = splat[3], pair.vy = splat[4], pair.log2_opacity = splat[5];
    pair.a0 = pair.ux * dx + pair.uy * dy;
    pair.b0 = pair.vy * dy;
    // Lanes are the 8 row pairs; each row of pixel centres cuts the ellipse in an interval of x.
    const L inverse = L::broadcast(T(1) / pair.ux), limit = L::broadcast(reach);
    const L even = L::load(kEvenRows);
    pair.blocks =
        L::nibbles(row_blocks(pair, even, inverse, limit), row_blocks(pair, even + L::broadcast(1), inverse, limit));
  }

  // Per lane, the 4 bits of the blocks that the row at `y` touches.
  static typename L::Bits row_blocks(const Pair<T>& pair, L y, L inverse, L limit) {
    const L t2 = L::fma(L::broadcast(pair.vy), y, L::broadcast(pair.b0));
    const L rest = L::fnma(t2, t2, limit);
    const L half = L::sqrt(L::max(rest, L::broadcast(0))) * inverse;
    const L middle = L::fnma(L::fma(L::broadcast(pair.uy), y, L::broadcast(pair.a0)), inverse, L::broadcast(7.5));
    return L::column_blocks(middle - half, middle + half, rest);
  }

  static int64_t count_visits(const Pair<T>* pairs, int count, uint32_t alive) {
    int64_t visits = 0;
    for (int i = 0; i < count; ++i) visits += L::popcount(pairs[i].blocks & alive);
    return visits;
  }

  static void evaluate(const Pair<T>* pairs, int count, TileState<T>& state, Visits<T>& visits) {
    alignas(64) uint8_t lists[kBlocks][kBatch];
    int lengths[kBlocks];
    L::list_blocks(pairs, count, state.alive, lists, lengths);
    int32_t end = 0;
    for (int k = 0; k < kBlocks; ++k) {
      visits.begin[k] = end;
      if (lengths[k] == 0) continue;
      end = evaluate_block(pairs, lists[k], lengths[k], k, state, visits, end);
    }
    visits.begin[kBlocks] = end;
  }

  static int32_t evaluate_block(const Pair<T>* pairs, const uint8_t* list, int length, int k, TileState<T>& state,
                                const Visits<T>& visits, int32_t end) {
    const L x = block_x(k), y = block_y(k);
    const L least = L::broadcast(T(kMinTransmittance)), most = L::broadcast(T(kMaxAlpha));
    const L cut = L::broadcast(T(kLog2MinAlpha));
    L running = L::load(state.running + kLanes * k), transmittance = L::load(state.transmittance + kLanes * k);
    uint8_t* index = visits.index;
    for (int i = 0; i < length; ++i) {
      const Pair<T>& pair = pairs[list[i]];
      const L t1 = L::fma(L::broadcast(pair.uy), y, L::fma(L::broadcast(pair.ux), x, L::broadcast(pair.a0)));
      const L t2 = L::fma(L::broadcast(pair.vy), y, L::broadcast(pair.b0));
      const L exponent = L::fnma(t2, t2, L::fnma(t1, t1, L::broadcast(pair.log2_opacity)));
      const L alpha = L::where(exponent >= cut, L::min(L::exp2(exponent), most));
      // `running` never grows, so once it falls below the limit the pixel is done without any flag.
      const L next = L::fnma(alpha, running, running);
      const auto blends = next >= least;
      const L weight = L::where(blends, alpha * running);
      transmittance = L::select(blends, next, transmittance);
      running = next;
      // Written always, kept only when some pixel blends.
      index[end] = list[i];
      weight.store(visits.weight + kLanes * int64_t(end));
      if (visits.alpha) L::where(blends, alpha).store(visits.alpha + kLanes * int64_t(end));
      end += weight.any_positive();
      if (!L::any(blends)) break;
    }
    if (!L::any(running >= least)) state.alive &= ~(1u << k);
    running.store(state.running + kLanes * k);
    transmittance.store(state.transmittance + kLanes * k);
    return end;
  }

  template <int C>
  static void accumulate_channels(const Visits<T>& visits, const T* features, T* accumulators) {
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.begin[k + 1];
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
      const int begin = visits.begin[k], end = visits.begin[k + 1];
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
    const L most = L::broadcast(T(kMaxAlpha));
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.begin[k + 1];
      if (begin == end) continue;
      // With B the product behind, the derivative by alpha is T (d - B), and in front of the visit B becomes
      // alpha d + (1 - alpha) B: no division by 1 - alpha, no subtraction from a total.
      L b = L::load(behind + kLanes * k);
      for (int v = end - 1; v >= begin; --v) {
        T* product = products + kLanes * int64_t(v);
        const L alpha = L::load(visits.alpha + kLanes * int64_t(v));
        const L difference = L::load(product) - b;
        b = L::fma(alpha, difference, b);
        L::where(alpha < most, difference * L::load(visits.weight + kLanes * int64_t(v))).store(product);
      }
      b.store(behind + kLanes * k);
    }
  }

  static void scatter8(const Visits<T>& visits, const T* factors, const T* values, T* sums) {
    for (int k = 0; k < kBlocks; ++k) {
      const int begin = visits.begin[k], end = visits.begin[k + 1];
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

  static void scatter1(const Visits<T>& visits, const T* factors, const T* values, T* sums) {
    for (int k = 0; k < kBlocks; ++k) {
      const L value = L::load(values + kLanes * k);
      for (int v = visits.begin[k]; v < visits.begin[k + 1]; ++v) {
        T* sum = sums + kLanes * visits.index[v];
        L::fma(L::load(factors + kLanes * int64_t(v)), value, L::load(sum)).store(sum);
      }
    }
  }

  static constexpr TileKernels<T> table = {make_pair, count_visits,  evaluate, accumulate,
                                           dot,       differentiate, scatter8, scatter1};
};

}  // namespace gaussian::cpu
