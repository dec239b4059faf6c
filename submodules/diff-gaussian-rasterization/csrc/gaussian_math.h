// Constants and basic functions, and the splat in image space: the region it covers and its alpha. projection.h has the
// projection, projection_backward.h its derivatives, spherical_harmonics.h the colours. All is shared by the CPU and
// the CUDA backend, templated on float or double, without memory allocation or branches on data layout.
#pragma once

#include <cmath>
#include <cstdint>

#include "types.h"

#ifdef __CUDACC__
#define GAUSSIAN_FN __host__ __device__ __forceinline__
#else
// Internal linkage: units built for different instruction sets need separate copies.
#define GAUSSIAN_FN static inline
#endif

namespace gaussian {

constexpr int kTile = 16;               // pixels per side of a tile
constexpr double kNearPlane = 0.2;      // culled at z <= this
constexpr double kBlur = 0.3;           // added to the diagonal of the 2D covariance, px^2
constexpr double kFrustumMargin = 1.3;  // x/z, y/z are clamped to this times the half-angle tangent in the Jacobian
constexpr double kMaxAlpha = 0.99;
constexpr double kMinAlpha = 1.0 / 255.0;              // smaller contributions are skipped
constexpr double kMinTransmittance = 1e-4;             // blending stops before the Gaussian that would go below
constexpr double kLog2MinAlpha = -7.9943534368588578;  // log2(1/255)
constexpr double kHalfLog2E = 0.72134752044448170;     // exp(-q/2) = exp2(-kHalfLog2E q)
constexpr double kMinCompensation2 = 2.5e-5;           // lower bound of det / det with blur under antialiasing

// A projected Gaussian. At offset (dx, dy) = pixel - (x, y), with t1 = ux dx + uy dy and t2 = vy dy,
// alpha = min(0.99, exp2(log2_opacity - t1^2 - t2^2)). u and v are a Cholesky factor of the inverse covariance, which
// keeps the exponent of needles accurate in single precision, where the three conic terms would cancel.
// Deviates from the published kernels, which draw a Gaussian in the tiles of a 3-sigma square: here it touches exactly
// the pixels where alpha >= 1/255, so that the image does not depend on the tile grid, and the gradient is zero where
// alpha is clamped to 0.99.
template <class T>
struct Splat {
  T x, y;  // mean, pixels
  T ux, uy, vy;
  T log2_opacity;
};

// Functions over a number type `V` take T = float or double, and also vectors of T (the CPU backend projects 8
// Gaussians at a time): such a V converts from T and provides choose, smaller, larger, finite, sqrt, log2, ceil and
// floor. Comparisons of vectors give masks, so these functions combine conditions with & and | and do not branch.
template <class T>
GAUSSIAN_FN T square(T v) {
  return v * v;
}
template <class T, class V>
GAUSSIAN_FN V dot3(const T* u, const V* v) {
  return u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
}
template <class T>
GAUSSIAN_FN T choose(bool condition, T yes, T no) {
  return condition ? yes : no;
}
template <class T>
GAUSSIAN_FN T smaller(T u, T v) {
  return u < v ? u : v;
}
template <class T>
GAUSSIAN_FN T larger(T u, T v) {
  return u > v ? u : v;
}
template <class T>
GAUSSIAN_FN T clamped(T v, T low, T high) {
  return smaller(larger(v, low), high);
}
// False for NaN and infinities (so no translation unit may be built with -ffast-math).
template <class T>
GAUSSIAN_FN bool finite(T v) {
  return v - v == T(0);
}

// Half-width and half-height (px) of the region where alpha may reach 1/255, with a margin above the rounding error of
// the evaluation, and the corresponding bound `reach` on t1^2 + t2^2.
template <class V>
struct Extent {
  V reach;  // log2_opacity - log2(1/255), padded; zero if the splat reaches no pixel
  V half_width, half_height;
  V skew;  // dy of the rightmost point of the ellipse
};

template <class V>
GAUSSIAN_FN Extent<V> extent(const Splat<V>& s) {
  using std::sqrt;
  Extent<V> e;
  const V raw = s.log2_opacity - V(kLog2MinAlpha);
  e.reach = choose(raw >= V(0), raw * V(1.0001) + V(1e-3), V(0));
  const V root = sqrt(e.reach), h = sqrt(s.uy * s.uy + s.vy * s.vy);
  e.half_height = root / s.vy;
  e.half_width = e.half_height * h / s.ux;
  e.skew = -s.uy * e.half_height / h;
  return e;
}

// The x interval (relative to the mean) of the ellipse t1^2 + t2^2 <= reach cut by the band dy in [low, high]. Returns
// false if they do not intersect. A tile is touched exactly if the hull of its pixel centres meets that interval.
template <class V>
GAUSSIAN_FN auto band_span(const Splat<V>& s, const Extent<V>& e, V low, V high, V& left, V& right) {
  using std::sqrt;
  const V dy_right = clamped(e.skew, low, high), dy_left = clamped(-e.skew, low, high);
  const V inverse = V(1) / s.ux;
  right = (sqrt(larger(e.reach - square(s.vy * dy_right), V(0))) - s.uy * dy_right) * inverse;
  left = (-sqrt(larger(e.reach - square(s.vy * dy_left), V(0))) - s.uy * dy_left) * inverse;
  return (low <= e.half_height) & (high >= -e.half_height);
}

// log2 of the unclamped alpha at offset (dx, dy).
template <class T>
GAUSSIAN_FN T log2_alpha(const Splat<T>& s, T dx, T dy) {
  const T t1 = s.ux * dx + s.uy * dy, t2 = s.vy * dy;
  return s.log2_opacity - t1 * t1 - t2 * t2;
}

}  // namespace gaussian
