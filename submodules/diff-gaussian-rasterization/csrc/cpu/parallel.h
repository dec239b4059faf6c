// Loops over independent items on several threads, and the scratch arrays they use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace gaussian::cpu {

// Calls work(item, thread) for every item in [0, count), assigned in order. An exception ends the loop and is
// rethrown.
template <class Work>
void parallel_for(int threads, int64_t count, Work&& work) {
  if (threads <= 1 || count <= 1) {
    for (int64_t item = 0; item < count; ++item) work(item, 0);
    return;
  }
#ifdef _OPENMP
  std::exception_ptr error;
  std::atomic<bool> failed{false};
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t item = 0; item < count; ++item) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      work(item, omp_get_thread_num());
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
#else
  for (int64_t item = 0; item < count; ++item) work(item, 0);
#endif
}

// The same for ranges: work(begin, end, thread) on pieces of `grain` items.
template <class Work>
void parallel_ranges(int threads, int64_t count, int64_t grain, Work&& work) {
  parallel_for(threads, (count + grain - 1) / grain, [&](int64_t piece, int thread) {
    const int64_t begin = piece * grain;
    work(begin, begin + grain < count ? begin + grain : count, thread);
  });
}

// Uninitialised array aligned to a cache line. Growing discards the content except the first `kept` elements.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) { reserve(size); }
  void reserve(size_t size, size_t kept = 0) {
    if (size <= capacity_) return;
    size_t capacity = capacity_ + capacity_ / 2;
    if (capacity < size) capacity = size;
    std::unique_ptr<T[], Free> grown(static_cast<T*>(::operator new(capacity * sizeof(T), std::align_val_t(64))));
    for (size_t i = 0; i < kept; ++i) grown[i] = data_[i];
    data_ = std::move(grown);
    capacity_ = capacity;
  }
  T* get() { return data_.get(); }
  T& operator[](size_t i) { return data_[i]; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t capacity_ = 0;
};

}  // namespace gaussian::cpu
