// Asynchronous search for NaN and infinity.
#include <algorithm>

#include "../backend.h"
#include "../gaussian_math.h"
#include "device.h"

namespace gaussian::cuda {
namespace {

constexpr int kLoads = 4;  // 16-byte loads in flight per thread: a single one would not saturate memory bandwidth
constexpr int64_t kMaxBlocks = 2048;
constexpr size_t kMaxTensors = 4;  // per kernel

struct WatchedTensors {
  WatchedTensor tensors[kMaxTensors];
};

__device__ __forceinline__ void report_first(const float* values, int64_t begin, int64_t end, uint64_t* report) {
  for (int64_t i = begin; i < end; ++i) {
    if (finite(values[i])) continue;
    atomicMin(reinterpret_cast<unsigned long long*>(report), static_cast<unsigned long long>(i));
    return;
  }
}

// A value times zero is zero if the value is finite, else NaN.
__device__ __forceinline__ float probe(float4 v, float sum) {
  return fmaf(v.x, 0.f, fmaf(v.y, 0.f, fmaf(v.z, 0.f, fmaf(v.w, 0.f, sum))));
}

// Grid: x = chunks of values, y = tensors.
__global__ void __launch_bounds__(kThreads) find_nonfinite_kernel(WatchedTensors watched) {
  const WatchedTensor tensor = watched.tensors[blockIdx.y];
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const bool aligned = reinterpret_cast<uintptr_t>(tensor.values) % sizeof(float4) == 0;
  const int64_t quads = aligned ? tensor.count / 4 : 0;
  const float4* values = reinterpret_cast<const float4*>(tensor.values);
  for (int64_t first = thread; first < quads; first += kLoads * threads) {
    float4 loaded[kLoads];
#pragma unroll
    for (int k = 0; k < kLoads; ++k) loaded[k] = values[smaller(first + k * threads, quads - 1)];
    float sum = 0.f;
#pragma unroll
    for (int k = 0; k < kLoads; ++k) sum = probe(loaded[k], sum);
    if (sum == 0.f) continue;
    for (int k = 0; k < kLoads; ++k) {
      const int64_t quad = smaller(first + k * threads, quads - 1);
      report_first(tensor.values, 4 * quad, 4 * quad + 4, tensor.report);
    }
  }
  for (int64_t i = 4 * quads + thread; i < tensor.count; i += threads)
    report_first(tensor.values, i, i + 1, tensor.report);
}

}  // namespace

uintptr_t pinned_reports(int64_t count, const Execution& execution) {
  const DeviceGuard guard(execution);
  return reinterpret_cast<uintptr_t>(allocate_pinned(static_cast<size_t>(count) * sizeof(uint64_t)));
}

void watch_nonfinite(const std::vector<WatchedTensor>& tensors, const Execution& execution) {
  const DeviceGuard guard(execution);
  for (size_t first = 0; first < tensors.size(); first += kMaxTensors) {
    const size_t count = std::min(tensors.size() - first, kMaxTensors);
    WatchedTensors watched = {};
    int64_t largest = 0;
    for (size_t i = 0; i < count; ++i) {
      watched.tensors[i] = tensors[first + i];
      largest = std::max(largest, watched.tensors[i].count);
    }
    const int64_t blocks = std::min<int64_t>(blocks_for((largest + 3) / 4).x, kMaxBlocks);
    launch("find_nonfinite_kernel", find_nonfinite_kernel,
           dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(count)), kThreads, stream_of(execution), watched);
  }
}

}  // namespace gaussian::cuda
