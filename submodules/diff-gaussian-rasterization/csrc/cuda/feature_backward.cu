// Gradient of blending with respect to features only: a front-to-back replay in which each splat receives weight times
// pixel gradient. Several warps add to the same splat atomically, so repeated runs agree only up to the rounding of
// float32 sums in a different order.
#include "blend_backward.h"
#include "channels.h"
#include "device.h"
#include "shared_weights.h"

namespace gaussian::cuda {
namespace {

// Columns of a product: channels of the gradient image, starting at `first_channel`.
template <int kTiles>
__device__ __forceinline__ void load_gradients(ColumnFragments (&grads)[kTiles], const Pixel& pixel, int width,
                                               int height, int64_t first_channel, int64_t channels,
                                               const float* grad_image) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
    fill_columns(grads[tile], pixel.lane, [&](int dx, int dy, int column) {
      return image_value(grad_image, first_channel + channel_of<kTiles>(tile, column), channels, pixel.block_x + dx,
                         pixel.block_y + dy, width, height);
    });
}

// Up to 32 channels: each warp has different pixels.
template <int C>
__global__ void __launch_bounds__(kGroupThreads)
    feature_backward_kernel(int width, int height, State state, int64_t channels, const float* grad_image,
                            FeatureRows rows) {
  __shared__ WarpStage<kRowStride> stages[kWarpsPerGroup];
  WarpStage<kRowStride>& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);

  constexpr int kTiles = (C + kMmaColumns - 1) / kMmaColumns;
  ColumnFragments grads[kTiles];
  load_gradients(grads, pixel, width, height, 0, channels, grad_image);

  FrontToBack pass(pixel);
  blend_by_warp(pass, state, pixel, rows.by_rank, stage, [&](int first, int count) {
    float sums[kTiles][4];
    multiply(stage.weights, grads, pixel.lane, sums);
    add_rows(sums, pixel.lane, stage.rows + first, count - first, rows, 0, static_cast<int>(channels));
  });
}

// More than 32 channels: the warps of a thread block share the pixels and take 32 channels each.
__global__ void __launch_bounds__(kMaxSharingWarps* kWarp, 2)
    feature_backward_many_kernel(int width, int height, State state, int64_t channels, const float* grad_image,
                                 FeatureRows rows) {
  __shared__ SharedStage<kRowStride> stage;
  const Pixel pixel(state, width, height, static_cast<int>(blockIdx.x));
  const int64_t first_channel = first_shared_channel();
  const int mine = static_cast<int>(smaller<int64_t>(larger<int64_t>(channels - first_channel, 0), kWarpChannels));

  constexpr int kTiles = kWarpChannels / kMmaColumns;
  ColumnFragments grads[kTiles];
  load_gradients(grads, pixel, width, height, first_channel, channels, grad_image);

  FrontToBack pass(pixel);
  blend_by_group(
      pass, state, pixel, rows.by_rank, stage, [&](int half, const BlockSplat*, const uint32_t* splat_rows, int count) {
        float sums[kTiles][4];
        multiply(stage.weights[half], grads, pixel.lane, sums);
        add_rows(sums, pixel.lane, splat_rows + half * kMmaRows, count - half * kMmaRows, rows, first_channel, mine);
      });
}

}  // namespace

void feature_backward(const Camera<float>& camera, const State& state, int64_t channels, const float* grad_image,
                      const FeatureRows& rows, cudaStream_t stream) {
  if (channels > kMaxChannels) {
    launch("feature_backward_many_kernel", feature_backward_many_kernel, sharing_grid(state, channels),
           sharing_warps(channels) * kWarp, stream, camera.width, camera.height, state, channels, grad_image, rows);
    return;
  }
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile));
  with_channels<kMaxChannels>(channels, [&](auto c) {
    constexpr int kCompiled = c > 0 ? c : 1;
    launch("feature_backward_kernel", feature_backward_kernel<kCompiled>, groups, kGroupThreads, stream, camera.width,
           camera.height, state, channels, grad_image, rows);
  });
}

}  // namespace gaussian::cuda
