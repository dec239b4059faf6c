// Gradient of blending with respect to splats and features: back to front, the transmittance in front of a splat
// recovered from the one behind it. Atomic additions make repeated runs agree only up to rounding, as in
// feature_backward.cu.
#include "blend_backward.h"
#include "channels.h"
#include "device.h"
#include "weight_product.h"

namespace gaussian::cuda {
namespace {

template <int C>
struct SplatStage {
  static constexpr int kStride = (C + 3) / 4 * 4;
  BlockSplat splats[kWarp];
  alignas(16) float features[kWarp * kStride];
  uint32_t positions[kWarp];
  uint32_t ranks[kWarp];
  PixelMatrix<kRowStride> weights;
  PixelMatrix<kRowStride> slopes;  // dL / d ln(alpha)
  BlockQueue queue;
};

__device__ __forceinline__ void add(float* address, float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float2*>(address), make_float2(a, b));
#else
  atomicAdd(address, a);
  atomicAdd(address + 1, b);
#endif
}

// Turns moments of g about the centre of the block (1, x, y, xx, xy, yy) into those of t1 and t2, which are linear in
// x, y.
__device__ __forceinline__ void add_moments(const float* moments, const BlockSplat& s, SplatSums* sums) {
  const float m1 = moments[0], mx = moments[1], my = moments[2], mxx = moments[3], mxy = moments[4], myy = moments[5];
  const float linear = s.ux * mx + s.uy * my;
  const float quadratic = s.ux * s.ux * mxx + 2.f * s.ux * s.uy * mxy + s.uy * s.uy * myy;
  add(&sums->g, m1, s.t1 * m1 + linear);
  add(&sums->g_t2, s.t2 * m1 + s.vy * my, s.t1 * (s.t1 * m1 + 2.f * linear) + quadratic);
  add(&sums->g_t1t2, s.t2 * (s.t1 * m1 + linear) + s.vy * (s.t1 * my + s.ux * mxy + s.uy * myy),
      s.t2 * (s.t2 * m1 + 2.f * s.vy * my) + s.vy * s.vy * myy);
}

template <int C>
__global__ void __launch_bounds__(kGroupThreads)
    splat_backward_kernel(int width, int height, State state, Features<float> features,
                          ImageGradients<float> image_gradients, SplatSums* sums, float* grad_features) {
  using Stage = SplatStage<C>;
  __shared__ Stage stages[kWarpsPerGroup];
  Stage& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int lane = pixel.lane;
  const bool first_chunk = blockIdx.y == 0;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * C;

  // Alpha, depth and each chunk of channels contribute to g linearly; the first chunk takes alpha and depth.
  float grad_pixel[C], grad_depth = 0.f, behind = 0.f, transmittance = 0.f;
  uint32_t last = 0;
#pragma unroll
  for (int c = 0; c < C; ++c)
    grad_pixel[c] =
        image_value(image_gradients.image, first_channel + c, features.channels, pixel.x, pixel.y, width, height);
  if (pixel.inside) {
    last = state.last[pixel.index];
    transmittance = state.transmittance[pixel.index];
    if (first_chunk && image_gradients.depth) grad_depth = image_gradients.depth[pixel.index];
    if (first_chunk && image_gradients.alpha) behind -= image_gradients.alpha[pixel.index];
    if (features.background) {
#pragma unroll
      for (int c = 0; c < C; ++c)
        if (first_channel + c < features.channels) behind += grad_pixel[c] * features.background[first_channel + c];
    }
    behind *= transmittance;  // what lies behind the current splat, weighted by its gradient
  }

  // Columns: the channels, then depth.
  constexpr int kTiles = (C + 1 + kMmaColumns - 1) / kMmaColumns;
  ColumnFragments grads[kTiles], monomials[1];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
    fill_columns(grads[tile], lane, [&](int dx, int dy, int column) {
      const int c = tile * kMmaColumns + column, px = pixel.block_x + dx, py = pixel.block_y + dy;
      if (c < C) return image_value(image_gradients.image, first_channel + c, features.channels, px, py, width, height);
      return c == C && first_chunk ? image_value(image_gradients.depth, 0, 1, px, py, width, height) : 0.f;
    });
  fill_columns(monomials[0], lane, [](int dx, int dy, int column) {
    const float ex = dx + 0.5f - 0.5f * kBlockWidth, ey = dy + 0.5f - 0.5f * kBlockHeight;
    const float left = column == 0 ? 1.f : column == 1 || column == 3 || column == 4 ? ex : column < 6 ? ey : 0.f;
    return left * (column < 3 ? 1.f : column == 3 ? ex : ey);
  });

  uint32_t length = last;
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) length = max(length, __shfl_xor_sync(kFullWarp, length, step));
  BlockList<true> list(state, pixel, length, stage.queue);
  for (;;) {
    typename BlockList<true>::Entry mine;
    const int count = list.fetch(mine);
    if (count == 0) break;
    if (lane < count) {
      stage.splats[lane] = mine.splat;
      stage.positions[lane] = mine.position;
      stage.ranks[lane] = mine.rank;
    }
    __syncwarp();
    stage_features<C, Stage::kStride>(features, first_channel, stage.splats, count, lane, stage.features);
    __syncwarp();
    for (int first = 0; first < count; first += kMmaRows) {
      bool any = false;
      for (int row = 0; row < kMmaRows; ++row) {
        const int i = first + row;
        float weight = 0.f, slope = 0.f;
        if (i < count && stage.positions[i] < last) {
          const BlockSplat s = stage.splats[i];
          const float exponent = log2_alpha(s, pixel.dx, pixel.dy);
          if (exponent >= static_cast<float>(kLog2MinAlpha)) {
            const float unclamped = fast_exp2(exponent);
            const float alpha = fminf(unclamped, static_cast<float>(kMaxAlpha));
            const float inverse = 1.f / (1.f - alpha);
            transmittance *= inverse;
            weight = alpha * transmittance;
            float along = grad_depth * s.depth;
#pragma unroll
            for (int c = 0; c < C; ++c) along += grad_pixel[c] * stage.features[i * Stage::kStride + c];
            if (unclamped <= static_cast<float>(kMaxAlpha)) slope = weight * along - alpha * inverse * behind;
            behind += weight * along;
            any = true;
          }
        }
        stage.weights.values[row * kRowStride + lane] = weight;
        stage.slopes.values[row * kRowStride + lane] = slope;
      }
      if (!__any_sync(kFullWarp, any)) continue;
      __syncwarp();
      float products[kTiles][4], moments[1][4];
      multiply(stage.weights, grads, lane, products);
      multiply(stage.slopes, monomials, lane, moments);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
        for_each_entry(products[tile], lane, [&](int row, int column, float value) {
          const int c = tile * kMmaColumns + column;
          if (first + row >= count || value == 0.f) return;
          if (c == C) atomicAdd(&sums[stage.ranks[first + row]].depth, value);
          if (grad_features && c < C && first_channel + c < features.channels)
            atomicAdd(grad_features + stage.splats[first + row].gaussian * features.channels + first_channel + c,
                      value);
        });
      __syncwarp();
      for_each_entry(moments[0], lane, [&](int row, int column, float value) {
        stage.slopes.values[row * kMmaColumns + column] = value;
      });
      __syncwarp();
      if (lane < kMmaRows && first + lane < count)
        add_moments(stage.slopes.values + lane * kMmaColumns, stage.splats[first + lane],
                    sums + stage.ranks[first + lane]);
      __syncwarp();
    }
  }
}

}  // namespace

void splat_backward(const Camera<float>& camera, const State& state, const Features<float>& features,
                    const ImageGradients<float>& image_gradients, SplatSums* sums, float* grad_features,
                    cudaStream_t stream) {
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile),
                    chunks_of(features.channels, kMaxChannels));
  with_channels<kMaxChannels>(features.channels, [&](auto c) {
    launch("splat_backward_kernel", splat_backward_kernel<c>, groups, kGroupThreads, stream, camera.width,
           camera.height, state, features, image_gradients, sums, grad_features);
  });
}

}  // namespace gaussian::cuda
