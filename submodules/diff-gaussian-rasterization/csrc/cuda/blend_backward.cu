// Backward pass: chooses the blending kernel and propagates splat gradients to the parameters of the Gaussians.
#include "../backend.h"
#include "../projection_backward.h"
#include "blend_backward.h"
#include "device.h"

namespace gaussian::cuda {
namespace {

__device__ void store(float* rows, int64_t row, const float* values, int width) {
  if (!rows) return;
  for (int k = 0; k < width; ++k) rows[row * width + k] = values[k];
}

__global__ void __launch_bounds__(kThreads)
    project_backward_kernel(Camera<float> camera, Gaussians<float> gaussians, int64_t num_visible,
                            const DeviceSplat* splats, const SplatSums* sums, Gradients<float> gradients) {
  const int64_t rank = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (rank >= num_visible) return;
  const int64_t i = splats[rank].gaussian;
  Projection<float> projection;
  project_visible(camera, gaussians, i, projection);
  const SplatSums s = sums[rank];
  ParameterGradient<float> out;
  project_backward(camera, gaussians, i, projection, {s.g, s.g_t1, s.g_t2, s.g_t1t1, s.g_t1t2, s.g_t2t2}, s.depth, out);
  store(gradients.means, i, out.mean, 3);
  store(gradients.means2d, i, out.mean2d, 2);
  store(gradients.opacities, i, &out.opacity, 1);
  if (gaussians.covariances) {
    store(gradients.covariances, i, out.covariance, 6);
  } else {
    store(gradients.scales, i, out.scale, 3);
    store(gradients.rotations, i, out.rotation, 4);
  }
}

// Copies rows of scratch memory to the caller's rows, which are zero-initialised.
__global__ void __launch_bounds__(kThreads)
    spread_rows_kernel(int64_t num_visible, const DeviceSplat* splats, FeatureRows rows, int64_t channels,
                       float* grad_features) {
  const int64_t entry = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t rank = entry / rows.stride, channel = entry % rows.stride;
  if (rank >= num_visible || channel >= channels) return;
  grad_features[splats[rank].gaussian * channels + channel] = rows.values[entry];
}

// The caller's rows if they allow aligned vectors of four floats, else scratch memory.
FeatureRows feature_rows(float* grad_features, int64_t channels, int64_t num_visible, const Allocator& scratch,
                         cudaStream_t stream) {
  const bool fits = channels % 4 == 0 && reinterpret_cast<uintptr_t>(grad_features) % sizeof(float4) == 0;
  if (!grad_features || fits) return {grad_features, channels, false};
  const int64_t stride = (channels + 3) / 4 * 4;
  float* const values = allocate<float>(scratch, num_visible * stride);
  clear(values, num_visible * stride * static_cast<int64_t>(sizeof(float)), stream);
  return {values, stride, true};
}

}  // namespace

void blend_backward(const Camera<float>& camera, const Gaussians<float>& gaussians, const Prepared& prepared,
                    const Features<float>& features, const ImageGradients<float>& image_gradients,
                    const Gradients<float>& gradients, Allocator scratch, const Execution& execution) {
  const DeviceGuard guard(execution);
  const cudaStream_t stream = stream_of(execution);
  const State state = state_of(prepared, camera.width, camera.height);
  const auto zero = [&](float* rows, int64_t width) {
    if (rows) clear(rows, gaussians.count * width * static_cast<int64_t>(sizeof(float)), stream);
  };
  zero(gradients.features, features.channels);
  zero(gradients.means, 3);
  zero(gradients.means2d, 2);
  zero(gradients.scales, 3);
  zero(gradients.rotations, 4);
  zero(gradients.covariances, 6);
  zero(gradients.opacities, 1);
  if (prepared.num_pairs == 0) return;
  const bool features_wanted = gradients.features && image_gradients.image;
  const FeatureRows rows = feature_rows(features_wanted ? gradients.features : nullptr, features.channels,
                                        prepared.num_visible, scratch, stream);
  if (gradients.geometry()) {
    SplatSums* sums = allocate<SplatSums>(scratch, prepared.num_visible);
    clear(sums, prepared.num_visible * static_cast<int64_t>(sizeof(SplatSums)), stream);
    splat_backward(camera, state, features, image_gradients, sums, rows, stream);
    launch("project_backward_kernel", project_backward_kernel, blocks_for(prepared.num_visible), kThreads, stream,
           camera, gaussians, prepared.num_visible, state.splats, sums, gradients);
  } else if (features_wanted) {
    feature_backward(camera, state, features.channels, image_gradients.image, rows, stream);
  }
  if (rows.by_rank)
    launch("spread_rows_kernel", spread_rows_kernel, blocks_for(prepared.num_visible * rows.stride), kThreads, stream,
           prepared.num_visible, state.splats, rows, features.channels, gradients.features);
}

}  // namespace gaussian::cuda
