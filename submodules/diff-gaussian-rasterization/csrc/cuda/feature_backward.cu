// Gradient of blending with respect to features alone: a front-to-back replay in which a splat receives weight times
// pixel gradient. Different warps see the same splat and meet in atomic additions, so repeated runs agree only up to
// the rounding of float32 sums taken in another order.
#include "blend_backward.h"
#include "channels.h"
#include "device.h"
#include "front_to_back.h"

namespace gaussian::cuda {
namespace {

// No thread keeps channels of its own here, only its share of the fragments: chunks may be wider.
constexpr int kMaxFeatureChannels = 64;

template <int C>
__global__ void __launch_bounds__(kGroupThreads)
    feature_backward_kernel(int width, int height, State state, int64_t channels, const float* grad_image,
                            float* grad_features) {
  __shared__ WayStage<kRowStride> stages[kWarpsPerGroup];
  WayStage<kRowStride>& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * C;

  constexpr int kTiles = (C + kMmaColumns - 1) / kMmaColumns;
  ColumnFragments grads[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
    fill_columns(grads[tile], pixel.lane, [&](int dx, int dy, int column) {
      return image_value(grad_image, first_channel + tile * kMmaColumns + column, channels, pixel.block_x + dx,
                         pixel.block_y + dy, width, height);
    });

  FrontToBack way(pixel);
  walk(way, state, pixel, stage, [&](int first, int count, int, uint32_t) {
    float sums[kTiles][4];
    multiply(stage.weights, grads, pixel.lane, sums);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      for_each_entry(sums[tile], pixel.lane, [&](int row, int column, float value) {
        const int64_t channel = first_channel + tile * kMmaColumns + column;
        if (first + row < count && tile * kMmaColumns + column < C && channel < channels && value != 0.f)
          atomicAdd(grad_features + stage.splats[first + row].gaussian * channels + channel, value);
      });
  });
}

}  // namespace

void feature_backward(const Camera<float>& camera, const State& state, int64_t channels, const float* grad_image,
                      float* grad_features, cudaStream_t stream) {
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile),
                    chunks_of(channels, kMaxFeatureChannels));
  with_channels<kMaxFeatureChannels>(channels, [&](auto c) {
    launch("feature_backward_kernel", feature_backward_kernel<c>, groups, kGroupThreads, stream, camera.width,
           camera.height, state, channels, grad_image, grad_features);
  });
}

}  // namespace gaussian::cuda
