// State of the emulated runtime that tests set, and what it counts for them.
#pragma once

#include <cstdint>

namespace emulation {

struct Runtime {
  // Set by tests.
  int64_t current_device = 0;
  int64_t capturing = 0;  // the stream records a graph: waits and allocations in the default mode are errors
  int64_t old_driver = 0;
  // Counted.
  int64_t device_changes = 0, waits = 0, launches = 0, atomics = 0;
  int64_t pageable_copies = 0;  // between the device and host memory that is not page-locked
  int64_t sorted_elements = 0;  // over all radix sorts
  int64_t pinned_bytes = 0;
};
inline Runtime runtime;

}  // namespace emulation
