// The CPU backend's layout of prepared memory: a header, then the arrays below, each aligned to 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../types.h"
#include "tile_kernels.h"

namespace gaussian::cpu {

struct PreparedHeader {
  int64_t count, num_visible, num_pairs;
  int32_t width, height, tiles_x, tiles_y;
};

template <class T>
struct PreparedView {
  PreparedHeader* header;
  T* depth;              // [n] camera z, 0 where culled
  uint32_t* pair_begin;  // [n + 1] into pair_place
  uint32_t* pair_place;  // [pairs] indices into `pairs`, grouped by Gaussian
  uint32_t* tile_begin;  // [tiles + 1] into pairs
  uint32_t* tile_order;  // [tiles] longest first, to balance the threads
  Pair<T>* pairs;        // [pairs] by tile, nearest first

  // Points the arrays into `memory` (null to measure) and returns the bytes they take. `clear_padding`
  // zeroes the padding of new memory, so that equal views are equal byte for byte.
  size_t place(char* memory, const PreparedHeader& sizes, bool clear_padding) {
    const size_t tiles = size_t(sizes.tiles_x) * sizes.tiles_y;
    size_t used = 0;
    const auto take = [&](auto*& array, size_t length) {
      const size_t bytes = length * sizeof(*array), padded = (bytes + 63) / 64 * 64;
      array = reinterpret_cast<std::decay_t<decltype(array)>>(memory + used);
      if (memory && clear_padding) std::memset(memory + used + bytes, 0, padded - bytes);
      used += padded;
    };
    take(header, 1);
    take(depth, sizes.count);
    take(pair_begin, sizes.count + 1);
    take(pair_place, sizes.num_pairs);
    take(tile_begin, tiles + 1);
    take(tile_order, tiles);
    take(pairs, sizes.num_pairs);
    return used;
  }

  static PreparedView of(const Prepared& prepared) {
    PreparedHeader sizes;
    std::memcpy(&sizes, prepared.data, sizeof(sizes));
    PreparedView view;
    view.place(static_cast<char*>(prepared.data), sizes, false);
    return view;
  }
};

}  // namespace gaussian::cpu
