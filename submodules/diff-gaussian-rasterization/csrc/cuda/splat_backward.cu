// Gradient of blending with respect to splats and features: back to front, recovering the transmittance in front of
// each splat from the one behind it. Because of atomic additions repeated runs agree only up to rounding, as in
// feature_backward.cu.
#include "alpha.h"
#include "blend_backward.h"
#include "channels.h"
#include "device.h"
#include "weight_product.h"

namespace gaussian::cuda {
namespace {

template <int C>
struct SplatStage {
  BlockSplat splats[kWarp];
  alignas(16) float features[kWarp * kStagedStride<C>];
  uint32_t gaussians[kWarp];
  uint32_t ranks[kWarp];
  PixelMatrix<kRowStride> weights;
  PixelMatrix<kRowStride> slopes;  // dL / d ln(alpha)
  BlockQueue queue;
};

constexpr int kDepthColumn = 6;  // of a row of moments, after the six moments

// Converts moments of g about the centre of the block (1, x, y, xx, xy, yy) to those of t1 and t2, which are linear in
// x, y. Two lanes per splat, four sums each.
__device__ __forceinline__ void add_moments(const float* moments, const BlockSplat& s, int half, SplatSums* sums) {
  const float m1 = moments[0], mx = moments[1], my = moments[2], mxx = moments[3], mxy = moments[4], myy = moments[5];
  const float linear = s.ux * mx + s.uy * my;
  const float t1 = s.t1 * m1 + linear, t2 = s.t2 * m1 + s.vy * my;
  float4 v;
  if (half == 0) {
    const float quadratic = s.ux * s.ux * mxx + 2.f * s.ux * s.uy * mxy + s.uy * s.uy * myy;
    v = make_float4(m1, t1, t2, s.t1 * (t1 + linear) + quadratic);
  } else {
    const float t1t2 = s.t2 * t1 + s.vy * (s.t1 * my + s.ux * mxy + s.uy * myy);
    const float t2t2 = s.t2 * (t2 + s.vy * my) + s.vy * s.vy * myy;
    v = make_float4(t1t2, t2t2, moments[kDepthColumn], 0.f);
  }
  add(&sums->g + 4 * half, v);
}

// Minimum thread blocks per multiprocessor; the compiler limits registers accordingly.
constexpr int groups_wanted(int channels) { return channels <= 4 ? 5 : channels <= 9 ? 4 : channels <= 16 ? 3 : 2; }

template <int C>
__global__ void __launch_bounds__(kGroupThreads, groups_wanted(C))
    splat_backward_kernel(int width, int height, State state, Features<float> features,
                          ImageGradients<float> image_gradients, SplatSums* sums, FeatureRows rows) {
  using Stage = SplatStage<C>;
  __shared__ Stage stages[kWarpsPerGroup];
  Stage& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int lane = pixel.lane;
  const bool first_chunk = blockIdx.y == 0;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * C;
  const int channels = static_cast<int>(smaller<int64_t>(features.channels - first_channel, C));

  // Alpha, depth and each chunk of channels contribute to g linearly; the first chunk includes alpha and depth.
  float grad_pixel[C], grad_depth = 0.f, transmittance = 0.f;
  float behind = 0.f;  // pixel gradient times the colour behind the current splat, at transmittance 1
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
  }

  // Columns: the channels, then depth.
  constexpr int kTiles = (C + 1 + kMmaColumns - 1) / kMmaColumns;
  ColumnFragments grads[kTiles], monomials[1];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
    fill_columns(grads[tile], lane, [&](int dx, int dy, int column) {
      const int c = channel_of<kTiles>(tile, column), px = pixel.block_x + dx, py = pixel.block_y + dy;
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
    stage.splats[lane] = lane < count ? mine.splat : null_splat();
    stage.gaussians[lane] = mine.gaussian;
    stage.ranks[lane] = mine.rank;
    __syncwarp();
    stage_features<C>(features, first_channel, stage.gaussians, count, lane, stage.features);
    __syncwarp();
    for (int first = 0; first < count; first += kMmaRows) {
      float largest = 0.f;
#pragma unroll 2
      for (int row = 0; row < kMmaRows; ++row) {
        const int i = first + row;
        const BlockSplat s = stage.splats[i];
        const float evaluated = unclamped_alpha(s, pixel.dx, pixel.dy);
        const float unclamped = s.position < last ? evaluated : 0.f;  // blending stopped before later splats
        const float alpha = fminf(unclamped, static_cast<float>(kMaxAlpha));
        transmittance *= fast_reciprocal(1.f - alpha);  // now in front of the splat
        const float weight = alpha * transmittance;
        float along = grad_depth * s.depth;
#pragma unroll
        for (int c = 0; c < C; ++c) along = fmaf(grad_pixel[c], stage.features[i * kStagedStride<C> + c], along);
        const float difference = along - behind;
        behind = fmaf(alpha, difference, behind);
        largest = fmaxf(largest, weight);
        stage.weights.values[row * kRowStride + lane] = weight;
        stage.slopes.values[row * kRowStride + lane] =
            unclamped <= static_cast<float>(kMaxAlpha) ? weight * difference : 0.f;
      }
      if (!__any_sync(kFullWarp, largest > 0.f)) continue;
      __syncwarp();
      float products[kTiles][4], moments[1][4];
      multiply(stage.weights, grads, lane, products);
      multiply(stage.slopes, monomials, lane, moments);
      if (rows.values)
        add_rows(products, lane, (rows.by_rank ? stage.ranks : stage.gaussians) + first, count - first, rows,
                 first_channel, channels);
      __syncwarp();  // the slopes have been read; moments reuse their memory, a row of eight per splat
      for_each_entry(moments[0], lane, [&](int row, int column, float value) {
        if (column < kDepthColumn) stage.slopes.values[row * kMmaColumns + column] = value;
      });
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
        for_each_entry(products[tile], lane, [&](int row, int column, float value) {
          if (channel_of<kTiles>(tile, column) == C) stage.slopes.values[row * kMmaColumns + kDepthColumn] = value;
        });
      __syncwarp();
      const int row = lane % kMmaRows;
      if (first + row < count)
        add_moments(stage.slopes.values + row * kMmaColumns, stage.splats[first + row], lane / kMmaRows,
                    sums + stage.ranks[first + row]);
      __syncwarp();
    }
  }
}

}  // namespace

void splat_backward(const Camera<float>& camera, const State& state, const Features<float>& features,
                    const ImageGradients<float>& image_gradients, SplatSums* sums, const FeatureRows& rows,
                    cudaStream_t stream) {
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile),
                    chunks_of(features.channels, kMaxChannels));
  with_channels<kMaxChannels>(features.channels, [&](auto c) {
    constexpr int kCompiled = c > 0 ? c : 1;
    launch("splat_backward_kernel", splat_backward_kernel<kCompiled>, groups, kGroupThreads, stream, camera.width,
           camera.height, state, features, image_gradients, sums, rows);
  });
}

}  // namespace gaussian::cuda
