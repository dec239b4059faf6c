// Colours from spherical harmonics: forward and backward pass.
#include "../backend.h"
#include "../spherical_harmonics.h"
#include "device.h"
#include "state.h"

namespace gaussian::cuda {
namespace {

constexpr int kMaxCoefficients = 16;

__global__ void __launch_bounds__(kThreads) evaluate_sh_kernel(Harmonics<float> harmonics, float* colors) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= harmonics.count) return;
  float direction[3], basis[kMaxCoefficients];
  view_direction(harmonics.means + 3 * i, harmonics.camera_center, direction);
  sh_basis(harmonics.degree, direction[0], direction[1], direction[2], basis);
  const float* coefficients = harmonics.coefficients + 3 * harmonics.stride * i;
  float color[3] = {0.5f, 0.5f, 0.5f};
#pragma unroll
  for (int k = 0; k < kMaxCoefficients; ++k) {
    if (k >= (harmonics.degree + 1) * (harmonics.degree + 1)) break;
    for (int c = 0; c < 3; ++c) color[c] += basis[k] * coefficients[3 * k + c];
  }
  for (int c = 0; c < 3; ++c) colors[3 * i + c] = fmaxf(color[c], 0.f);
}

__global__ void __launch_bounds__(kThreads)
    evaluate_sh_backward_kernel(Harmonics<float> harmonics, const float* colors, const float* grad_colors,
                                HarmonicsGradients<float> gradients) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= harmonics.count) return;
  const int num_active = (harmonics.degree + 1) * (harmonics.degree + 1);
  float direction[3], basis[kMaxCoefficients], weight[kMaxCoefficients];
  const float inverse_distance = view_direction(harmonics.means + 3 * i, harmonics.camera_center, direction);
  sh_basis(harmonics.degree, direction[0], direction[1], direction[2], basis);
  float grad[3];
  for (int c = 0; c < 3; ++c) grad[c] = colors[3 * i + c] > 0.f ? grad_colors[3 * i + c] : 0.f;  // zero where clamped
  const int64_t row = 3 * harmonics.stride * i;
#pragma unroll
  for (int k = 0; k < kMaxCoefficients; ++k) {
    if (k >= num_active) break;
    weight[k] = 0.f;
    for (int c = 0; c < 3; ++c) weight[k] += grad[c] * harmonics.coefficients[row + 3 * k + c];
    if (gradients.coefficients)
      for (int c = 0; c < 3; ++c) gradients.coefficients[row + 3 * k + c] = grad[c] * basis[k];
  }
  if (gradients.coefficients)
    for (int64_t k = 3 * num_active; k < 3 * harmonics.stride; ++k) gradients.coefficients[row + k] = 0.f;
  if (!gradients.means) return;
  float along[3];
  sh_basis_backward(harmonics.degree, direction[0], direction[1], direction[2], weight, along);
  const float radial = dot3(along, direction);  // moving along the ray does not change the direction
  for (int k = 0; k < 3; ++k) gradients.means[3 * i + k] = inverse_distance * (along[k] - radial * direction[k]);
}

}  // namespace

void evaluate_sh(const Harmonics<float>& harmonics, float* colors, const Execution& execution) {
  const DeviceGuard guard(execution);
  launch("evaluate_sh_kernel", evaluate_sh_kernel, blocks_for(harmonics.count), kThreads, stream_of(execution),
         harmonics, colors);
}

void evaluate_sh_backward(const Harmonics<float>& harmonics, const float* colors, const float* grad_colors,
                          const HarmonicsGradients<float>& gradients, const Execution& execution) {
  const DeviceGuard guard(execution);
  launch("evaluate_sh_backward_kernel", evaluate_sh_backward_kernel, blocks_for(harmonics.count), kThreads,
         stream_of(execution), harmonics, colors, grad_colors, gradients);
}

}  // namespace gaussian::cuda
