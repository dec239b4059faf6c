// Arrays in memory from the caller's allocator.
#pragma once

#include <cstdint>

#include "../types.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace gaussian::cpu {

// Newly allocated large arrays are written completely: 2 MiB pages avoid most of the page faults and TLB misses.
inline void prefer_huge_pages(void* memory, size_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kHuge = uintptr_t(2) << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHuge * kHuge;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a hint: failure is harmless
#else
  (void)memory, (void)bytes;
#endif
}

template <class T>
T* take(Allocator allocator, int64_t length) {
  const size_t bytes = size_t(length) * sizeof(T);
  void* memory = allocator.allocate(allocator.context, bytes);
  prefer_huge_pages(memory, bytes);
  return static_cast<T*>(memory);
}

}  // namespace gaussian::cpu
