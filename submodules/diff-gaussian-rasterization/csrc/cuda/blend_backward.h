// The two ways back through blending: to the features alone, or to the geometry as well.
#pragma once

#include "feature_rows.h"
#include "state.h"

namespace gaussian::cuda {

// A pixel of one channel of an image [channels, height, width]; 0 outside of it.
__device__ __forceinline__ float image_value(const float* image, int64_t channel, int64_t channels, int x, int y,
                                             int width, int height) {
  if (!image || channel >= channels || x >= width || y >= height) return 0.f;
  return image[(channel * height + y) * width + x];
}

// Adds to the rows of features.
void feature_backward(const Camera<float>& camera, const State& state, int64_t channels, const float* grad_image,
                      const FeatureRows& rows, cudaStream_t stream);

// Sums over pixels for one splat; see SplatGradient. Two atomic additions of four floats.
struct alignas(16) SplatSums {
  float g, g_t1, g_t2, g_t1t1;
  float g_t1t2, g_t2t2;
  float depth;  // of weight times the gradient of the depth image
  float unused;
};

// Adds to sums [num_visible] and, where they are wanted, to the rows of features.
void splat_backward(const Camera<float>& camera, const State& state, const Features<float>& features,
                    const ImageGradients<float>& image_gradients, SplatSums* sums, const FeatureRows& rows,
                    cudaStream_t stream);

}  // namespace gaussian::cuda
