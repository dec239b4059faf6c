// CUB's device-wide selection, sort and scan, by the standard library; the same two-call protocol for temporary
// storage.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "cuda_runtime.h"

namespace cub {

struct DeviceSelect {
  template <class In, class Out, class NumSelected, class Count, class Predicate>
  static cudaError_t If(void* storage, size_t& bytes, In in, Out out, NumSelected selected, Count count,
                        Predicate predicate, cudaStream_t = nullptr) {
    if (!storage) return bytes = 1, cudaSuccess;
    *selected = static_cast<int>(std::copy_if(in, in + count, out, predicate) - out);
    return cudaSuccess;
  }
};

struct DeviceRadixSort {
  template <class Key, class Count>
  static cudaError_t SortKeys(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, Count count,
                              int begin_bit = 0, int end_bit = 8 * sizeof(Key), cudaStream_t stream = nullptr) {
    std::vector<Key> ignored(storage ? count : 0);
    return SortPairs(storage, bytes, keys_in, keys_out, keys_in, ignored.data(), count, begin_bit, end_bit, stream);
  }

  template <class Key, class Value, class Count>
  static cudaError_t SortPairs(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, const Value* values_in,
                               Value* values_out, Count count, int begin_bit = 0, int end_bit = 8 * sizeof(Key),
                               cudaStream_t = nullptr) {
    if (!storage) return bytes = 1, cudaSuccess;
    emulation::runtime.sorted_elements += count;
    const Key mask = static_cast<Key>((end_bit >= 64 ? ~0ull : (1ull << end_bit) - 1) & ~((1ull << begin_bit) - 1));
    std::vector<Count> order(count);
    std::iota(order.begin(), order.end(), Count{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](Count a, Count b) { return (keys_in[a] & mask) < (keys_in[b] & mask); });
    for (Count i = 0; i < count; ++i) keys_out[i] = keys_in[order[i]], values_out[i] = values_in[order[i]];
    return cudaSuccess;
  }
};

struct DeviceScan {
  template <class In, class Out, class Count>
  static cudaError_t InclusiveSum(void* storage, size_t& bytes, In in, Out out, Count count, cudaStream_t = nullptr) {
    if (!storage) return bytes = 1, cudaSuccess;
    std::partial_sum(in, in + count, out);
    return cudaSuccess;
  }
};

}  // namespace cub
