// How channels are cut into chunks for kernels that are compiled for a fixed number of them.
#pragma once

#include "block_list.h"

namespace gaussian::cuda {

// Channels of one chunk, at most; further chunks evaluate the splats again.
constexpr int kMaxChannels = 32;

// Calls function(std::integral_constant<int, C>) with the smallest compiled C that holds a chunk of `channels`.
template <int kMost, class Function>
void with_channels(int64_t channels, const Function& function) {
  if (channels <= 1) return function(std::integral_constant<int, 1>());
  if (channels <= 3) return function(std::integral_constant<int, 3>());
  if (channels <= 4) return function(std::integral_constant<int, 4>());
  if (channels <= 9) return function(std::integral_constant<int, 9>());
  if (channels <= 16) return function(std::integral_constant<int, 16>());
  if (channels <= 32) return function(std::integral_constant<int, 32>());
  return function(std::integral_constant<int, kMost>());
}

// At least one, which also makes alpha and depth.
inline unsigned chunks_of(int64_t channels, int most) {
  return channels <= most ? 1u : static_cast<unsigned>((channels + most - 1) / most);
}

// Channels of row `row` of the batch, from the Gaussian that lane `row` holds; zero behind the last channel.
template <int C, int kStride>
__device__ void stage_features(const Features<float>& features, int64_t first_channel, const BlockSplat* splats,
                               int count, int lane, float* staged) {
  for (int i = lane; i < count * C; i += kWarp) {
    const int row = i / C, c = i % C;
    const int64_t channel = first_channel + c;
    staged[row * kStride + c] =
        channel < features.channels ? features.values[splats[row].gaussian * features.channels + channel] : 0.f;
  }
}

}  // namespace gaussian::cuda
