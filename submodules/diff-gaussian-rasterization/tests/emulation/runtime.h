// The CUDA runtime on the host: devices without memory of their own, everything synchronous.
#pragma once

#include <cstdlib>
#include <cstring>
#include <map>

#include "counts.h"
#include "fibres.h"

using cudaStream_t = struct CUstream_st*;
#define CUDART_VERSION 13000
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorStreamCaptureUnsupported, cudaErrorInsufficientDriver };
enum cudaMemcpyKind { cudaMemcpyDeviceToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToDevice };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor };
constexpr unsigned cudaHostAllocPortable = 1;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace emulation {
inline cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
inline std::map<const char*, size_t> pinned;  // blocks by address

inline bool is_pinned(const void* address) {
  const char* p = static_cast<const char*>(address);
  const auto after = pinned.upper_bound(p);
  return after != pinned.begin() && p < std::prev(after)->first + std::prev(after)->second;
}
}  // namespace emulation

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  return *value = emulation::compute_capability, cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorStreamCaptureUnsupported ? "operation not permitted when stream is capturing" : "error";
}
inline cudaError_t cudaGetDevice(int* device) {
  if (emulation::runtime.old_driver) return cudaErrorInsufficientDriver;
  return *device = static_cast<int>(emulation::runtime.current_device), cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  ++emulation::runtime.device_changes;
  return emulation::runtime.current_device = device, cudaSuccess;
}
inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return std::swap(*mode, emulation::capture_mode), cudaSuccess;
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = emulation::runtime.capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  if (emulation::runtime.capturing && emulation::capture_mode != cudaStreamCaptureModeRelaxed)
    return cudaErrorStreamCaptureUnsupported;
  *memory = std::calloc(1, bytes);
  emulation::pinned[static_cast<const char*>(*memory)] = bytes;
  emulation::runtime.pinned_bytes += static_cast<int64_t>(bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ++emulation::runtime.waits;
  return emulation::runtime.capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return std::memset(to, value, bytes), cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  const void* host = kind == cudaMemcpyDeviceToHost ? to : from;
  if (kind != cudaMemcpyDeviceToDevice && !emulation::is_pinned(host)) ++emulation::runtime.pageable_copies;
  return std::memcpy(to, from, bytes), cudaSuccess;
}
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  gridDim = config->gridDim;
  blockDim = config->blockDim;
  if (gridDim.x * gridDim.y * gridDim.z == 0) return cudaErrorInvalidValue;
  ++emulation::runtime.launches;
  emulation::Block block(blockDim, config->dynamicSmemBytes);
  for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) block.run([&] { kernel(Parameters(arguments)...); });
  return cudaSuccess;
}
