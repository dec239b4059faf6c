// Splits channels into chunks for kernels that are compiled for a fixed number of channels.
#pragma once

#include "block_list.h"

namespace gaussian::cuda {

// Maximum channels per chunk; each further chunk evaluates the splats again.
constexpr int kMaxChannels = 32;

// Calls function(std::integral_constant<int, C>) with the smallest compiled C that fits a chunk of `channels`.
template <int kMost, class Function>
void with_channels(int64_t channels, const Function& function) {
  if (channels <= 0) return function(std::integral_constant<int, 0>());
  if (channels <= 1) return function(std::integral_constant<int, 1>());
  if (channels <= 3) return function(std::integral_constant<int, 3>());
  if (channels <= 4) return function(std::integral_constant<int, 4>());
  if (channels <= 9) return function(std::integral_constant<int, 9>());
  if (channels <= 16) return function(std::integral_constant<int, 16>());
  if (channels <= 32) return function(std::integral_constant<int, 32>());
  return function(std::integral_constant<int, kMost>());
}

// At least one: the first chunk also computes alpha and depth.
inline unsigned chunks_of(int64_t channels, int most) {
  return channels <= most ? 1u : static_cast<unsigned>((channels + most - 1) / most);
}

// Rows of staged channels are 16-byte aligned: four channels per load.
template <int C>
constexpr int kStagedStride = (C + 3) / 4 * 4;

// Stages channels [first_channel, first_channel + C) of up to 32 Gaussians, zero beyond the last channel and in
// rows from `count` on. Each lane keeps its column, so that little has to be computed per element.
template <int C>
__device__ __forceinline__ void stage_features(const Features<float>& features, int64_t first_channel,
                                               const uint32_t* gaussians, int count, int lane, float* staged) {
  constexpr int kStride = kStagedStride<C>;
  const float* const values = features.values + first_channel;
  const uint32_t channels = static_cast<uint32_t>(features.channels);
  const bool whole = first_channel + C <= features.channels;
  if constexpr (C % 4 == 0) {
    constexpr int kLanes = C / 4, kRows = kWarp / kLanes;
    if (whole && features.channels % 4 == 0 && reinterpret_cast<uintptr_t>(values) % sizeof(float4) == 0) {
      const int part = lane % kLanes * 4;
#pragma unroll
      for (int k = 0; k < kLanes; ++k) {
        const int row = k * kRows + lane / kLanes;
        float4 loaded = {0.f, 0.f, 0.f, 0.f};
        if (row < count)
          loaded = *reinterpret_cast<const float4*>(values + static_cast<uint64_t>(gaussians[row]) * channels + part);
        *reinterpret_cast<float4*>(staged + row * kStride + part) = loaded;
      }
      return;
    }
  } else if (whole) {
    constexpr int kEach = C % 3 == 0 ? 3 : 1, kLanes = C / kEach, kRows = kWarp / kLanes;
    const int part = lane % kLanes * kEach;
#pragma unroll
    for (int first = 0; first < kWarp; first += kRows) {
      const int row = first + lane / kLanes;
      if (lane >= kLanes * kRows || row >= kWarp) break;
      const float* source = values + (row < count ? static_cast<uint64_t>(gaussians[row]) * channels : 0) + part;
#pragma unroll
      for (int c = 0; c < kEach; ++c) staged[row * kStride + part + c] = row < count ? source[c] : 0.f;
    }
    return;
  }
  for (int i = lane; i < kWarp * C; i += kWarp) {
    const int row = i / C, c = i % C;
    const bool given = row < count && first_channel + c < features.channels;
    staged[row * kStride + c] = given ? values[static_cast<uint64_t>(gaussians[row]) * channels + c] : 0.f;
  }
}

}  // namespace gaussian::cuda
