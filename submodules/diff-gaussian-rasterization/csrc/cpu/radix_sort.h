// Stable sort of (key, value) rows by an unsigned key, 11 bits at a time, or 8 if there are few: passing over the
// buckets would take longer than the rows.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel.h"

namespace gaussian::cpu {

constexpr int64_t kFewRows = 2048;

template <class Key>
struct KeyValue {
  Key key;
  uint32_t value;
};

// Sorts `rows`, using `other` of the same length as scratch; returns whichever array holds the result.
template <class Key>
KeyValue<Key>* radix_sort(KeyValue<Key>* rows, KeyValue<Key>* other, int64_t count, int threads) {
  const int bits = count < kFewRows ? 8 : 11, buckets = 1 << bits;
  const int64_t grain = (count + threads - 1) / threads;
  const int64_t pieces = count == 0 ? 0 : (count + grain - 1) / grain;
  std::vector<uint32_t> place(size_t(pieces) * buckets);
  for (int shift = 0; shift < int(8 * sizeof(Key)); shift += bits) {
    parallel_for(threads, pieces, [&](int64_t piece, int) {
      uint32_t* histogram = place.data() + piece * buckets;
      for (int b = 0; b < buckets; ++b) histogram[b] = 0;
      const int64_t end = piece * grain + grain < count ? piece * grain + grain : count;
      for (int64_t i = piece * grain; i < end; ++i) ++histogram[(rows[i].key >> shift) & (buckets - 1)];
    });
    uint32_t next = 0;
    bool one_bucket = false;
    for (int b = 0; b < buckets; ++b) {
      const uint32_t before = next;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const uint32_t size = place[piece * buckets + b];
        place[piece * buckets + b] = next;
        next += size;
      }
      one_bucket |= next - before == count;
    }
    if (one_bucket) continue;  // all keys agree in these bits; common for the high bits of depths
    parallel_for(threads, pieces, [&](int64_t piece, int) {
      uint32_t* start = place.data() + piece * buckets;
      const int64_t end = piece * grain + grain < count ? piece * grain + grain : count;
      for (int64_t i = piece * grain; i < end; ++i) other[start[(rows[i].key >> shift) & (buckets - 1)]++] = rows[i];
    });
    std::swap(rows, other);
  }
  return rows;
}

}  // namespace gaussian::cpu
