// The two backward passes of blending: for features only, or for features and geometry.
#pragma once

#include "feature_rows.h"
#include "state.h"

namespace gaussian::cuda {

// One channel of one pixel of an image [channels, height, width]; 0 outside.
__device__ __forceinline__ float image_value(const float* image, int64_t channel, int64_t channels, int x, int y,
                                             int width, int height) {
  if (!image || channel >= channels || x >= width || y >= height) return 0.f;
  return image[(channel * height + y) * width + x];
}

// Adds the gradients to the feature rows.
void feature_backward(const Camera<float>& camera, const State& state, int64_t channels, const float* grad_image,
                      const FeatureRows& rows, cudaStream_t stream);

// Sums over pixels for one splat; see SplatGradient. Two atomic additions of four floats.
struct alignas(16) SplatSums {
  float g, g_t1, g_t2, g_t1t1;
  float g_t1t2, g_t2t2;
  float depth;  // sum of weight times the gradient of the depth image
  float unused;
};

// Adds the gradients to sums [num_visible] and, if requested, to the feature rows.
void splat_backward(const Camera<float>& camera, const State& state, const Features<float>& features,
                    const ImageGradients<float>& image_gradients, SplatSums* sums, const FeatureRows& rows,
                    cudaStream_t stream);

}  // namespace gaussian::cuda
