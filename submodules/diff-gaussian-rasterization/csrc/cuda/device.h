// Use of the CUDA runtime: error checks, the current device, launches, and scratch memory from the caller's
// allocator.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "../types.h"

namespace gaussian::cuda {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::string message = std::string("CUDA error in ") + what + ": " + cudaGetErrorString(error);
  if (error == cudaErrorInsufficientDriver)
    message += ". The rasterizer was built with CUDA " + std::to_string(CUDART_VERSION / 1000) + "." +
               std::to_string(CUDART_VERSION % 1000 / 10) +
               ", whose first driver is 450 for CUDA 11, 525 for 12, 580 for 13: update the driver, or install the "
               "rasterizer again with an older nvcc on PATH";
  throw std::runtime_error(message);
}

// Makes a device current for the lifetime of the object. If it is current already, nothing is set: setting a
// device, even to restore it, would create a context on a GPU that the process may never use.
class DeviceGuard {
 public:
  explicit DeviceGuard(const Execution& execution) : device_(execution.device) {
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    if (previous_ != device_) check(cudaSetDevice(device_), "cudaSetDevice");
  }
  ~DeviceGuard() {
    if (previous_ != device_) cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int device_, previous_ = 0;
};

// Page-locked host memory, which devices read and write directly. The allocation is also legal during graph capture.
inline void* allocate_pinned(size_t bytes) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  check(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
  void* memory = nullptr;
  const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocPortable);
  check(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
  check(error, "cudaHostAlloc");
  return memory;
}

inline cudaStream_t stream_of(const Execution& execution) { return static_cast<cudaStream_t>(execution.stream); }

// Whether tensor cores accept float32 operands (as tf32); otherwise matrix products use shuffles.
inline bool has_tensor_cores(const Execution& execution) {
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, execution.device), "cudaDeviceGetAttribute");
  return major >= 8;
}

// Queues a kernel and throws if the launch fails. Does nothing for an empty grid.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 blocks, int threads, cudaStream_t stream,
            Arguments&&... arguments) {
  if (blocks.x == 0 || blocks.y == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), name);
}

constexpr int kThreads = 256;  // per block, in kernels with one thread per element

// Grid with one thread per element.
inline dim3 blocks_for(int64_t elements) { return dim3(static_cast<unsigned>((elements + kThreads - 1) / kThreads)); }

template <class T>
T* allocate(const Allocator& allocator, int64_t count) {
  if (count == 0) return nullptr;
  return static_cast<T*>(allocator.allocate(allocator.context, static_cast<size_t>(count) * sizeof(T)));
}

inline void clear(void* memory, int64_t bytes, cudaStream_t stream) {
  if (bytes > 0) check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream), "cudaMemsetAsync");
}

// Runs a CUB function with the temporary storage it requires.
template <class Function>
void with_storage(const char* what, const Allocator& scratch, const Function& function) {
  size_t bytes = 0;
  check(function(nullptr, bytes), what);
  void* storage = scratch.allocate(scratch.context, bytes);
  check(function(storage, bytes), what);
}

// Throws during graph capture: synchronising is an error there and would end the capture.
inline void refuse_capture(cudaStream_t stream, const char* what) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  if (status == cudaStreamCaptureStatusNone) return;
  throw std::runtime_error(
      std::string(what) +
      " waits for the GPU, since the size of its lists is the GPU's to say, and cannot be captured in a CUDA graph; "
      "prepare() the view before the capture and rasterize the prepared view in it");
}

// Copies one value to page-locked memory, which needs no staging copy, and synchronises.
template <class T>
T read_from_device(const T* value, cudaStream_t stream) {
  // One per thread, since threads copy concurrently. Not freed: the runtime may be unloaded when the thread ends.
  static thread_local T* const pinned = static_cast<T*>(allocate_pinned(sizeof(T)));
  check(cudaMemcpyAsync(pinned, value, sizeof(T), cudaMemcpyDeviceToHost, stream), "a copy to the host");
  check(cudaStreamSynchronize(stream), "work before a copy to the host");
  return *pinned;
}

}  // namespace gaussian::cuda
