// Choice of the instruction set, spherical harmonics, and the check for finite values.
#include "../backend.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "../spherical_harmonics.h"
#include "parallel.h"
#include "view_kernels.h"

namespace gaussian::cpu {
namespace {

// DIFF_GAUSSIAN_RASTERIZATION_SCALAR=1 starts on the scalar path.
bool wants_scalar() {
  const char* value = std::getenv("DIFF_GAUSSIAN_RASTERIZATION_SCALAR");
  return value && *value && std::strcmp(value, "0") != 0;
}

bool has_avx2() {
#ifdef GAUSSIAN_AVX2
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

std::atomic<bool> scalar_only{wants_scalar()};
const bool avx2 = has_avx2();

constexpr int64_t kGrain = 4096;

}  // namespace

void force_scalar(bool scalar) { scalar_only = scalar; }
const char* instruction_set() { return avx2 && !scalar_only ? "avx2" : "scalar"; }

template <>
const TileKernels<float>& kernels<float>() {
#ifdef GAUSSIAN_AVX2
  if (avx2 && !scalar_only) return avx2_kernels();
#endif
  return scalar_kernels<float>();
}
template <>
const TileKernels<double>& kernels<double>() {
  return scalar_kernels<double>();
}

template <>
const ViewKernels<float>& view_kernels<float>() {
#ifdef GAUSSIAN_AVX2
  if (avx2 && !scalar_only) return avx2_view_kernels();
#endif
  return scalar_view_kernels<float>();
}
template <>
const ViewKernels<double>& view_kernels<double>() {
  return scalar_view_kernels<double>();
}

template <class T>
void evaluate_harmonics(const Harmonics<T>& sh, T* colors, const Execution& execution) {
  const int terms = (sh.degree + 1) * (sh.degree + 1);
  parallel_ranges(execution.threads, sh.count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T direction[3], basis[16];
      view_direction(sh.means + 3 * i, sh.camera_center, direction);
      sh_basis(sh.degree, direction[0], direction[1], direction[2], basis);
      const T* coefficients = sh.coefficients + 3 * sh.stride * i;
      T sum[3] = {T(0.5), T(0.5), T(0.5)};
      for (int k = 0; k < terms; ++k)
        for (int c = 0; c < 3; ++c) sum[c] += basis[k] * coefficients[3 * k + c];
      for (int c = 0; c < 3; ++c) colors[3 * i + c] = larger(sum[c], T(0));
    }
  });
}

template <class T>
void evaluate_harmonics_backward(const Harmonics<T>& sh, const T* colors, const T* grad_colors,
                                 const HarmonicsGradients<T>& grads, const Execution& execution) {
  const int terms = (sh.degree + 1) * (sh.degree + 1);
  parallel_ranges(execution.threads, sh.count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T direction[3], basis[16], grad[3];
      for (int c = 0; c < 3; ++c) grad[c] = colors[3 * i + c] > 0 ? grad_colors[3 * i + c] : T(0);
      const T inverse = view_direction(sh.means + 3 * i, sh.camera_center, direction);
      if (grads.coefficients) {
        sh_basis(sh.degree, direction[0], direction[1], direction[2], basis);
        T* out = grads.coefficients + 3 * sh.stride * i;
        for (int k = 0; k < terms; ++k)
          for (int c = 0; c < 3; ++c) out[3 * k + c] = basis[k] * grad[c];
        std::fill(out + 3 * terms, out + 3 * sh.stride, T(0));
      }
      if (grads.means) {
        T weight[16], along[3];
        const T* coefficients = sh.coefficients + 3 * sh.stride * i;
        for (int k = 0; k < terms; ++k) weight[k] = dot3(coefficients + 3 * k, grad);
        sh_basis_backward(sh.degree, direction[0], direction[1], direction[2], weight, along);
        const T radial = dot3(along, direction);  // moving along the ray does not change the direction
        for (int c = 0; c < 3; ++c) grads.means[3 * i + c] = inverse * (along[c] - radial * direction[c]);
      }
    }
  });
}

// All exponent bits set, without a floating-point operation: the loop over it vectorises on any instruction set.
inline bool finite_bits(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof(bits));
  return (bits & 0x7f800000u) != 0x7f800000u;
}
inline bool finite_bits(double v) { return finite(v); }

template <class T>
int64_t first_nonfinite_value(const T* values, int64_t count, const Execution& execution) {
  constexpr int64_t kPiece = int64_t(1) << 16;
  std::atomic<int64_t> first{std::numeric_limits<int64_t>::max()};
  parallel_ranges(execution.threads, count, kPiece, [&](int64_t begin, int64_t end, int) {
    bool bad = false;
    for (int64_t i = begin; i < end; ++i) bad |= !finite_bits(values[i]);  // no early exit: this keeps up with memory
    if (!bad) return;
    int64_t found = begin;
    while (finite(values[found])) ++found;
    int64_t known = first.load();
    while (found < known && !first.compare_exchange_weak(known, found)) {
    }
  });
  return first.load() == std::numeric_limits<int64_t>::max() ? -1 : first.load();
}

#define GAUSSIAN_DEFINE(T)                                                                    \
  void evaluate_sh(const Harmonics<T>& sh, T* colors, const Execution& execution) {           \
    evaluate_harmonics(sh, colors, execution);                                                \
  }                                                                                           \
  void evaluate_sh_backward(const Harmonics<T>& sh, const T* colors, const T* grad_colors,    \
                            const HarmonicsGradients<T>& grads, const Execution& execution) { \
    evaluate_harmonics_backward(sh, colors, grad_colors, grads, execution);                   \
  }                                                                                           \
  int64_t first_nonfinite(const T* values, int64_t count, const Execution& execution) {       \
    return first_nonfinite_value(values, count, execution);                                   \
  }
GAUSSIAN_DEFINE(float)
GAUSSIAN_DEFINE(double)
#undef GAUSSIAN_DEFINE

}  // namespace gaussian::cpu
