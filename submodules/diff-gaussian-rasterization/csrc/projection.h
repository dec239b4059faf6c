// Projection of a Gaussian to its splat; projection_backward.h has the backward pass.
//
// Notation: the 2x3 matrix P = J W (perspective Jacobian times camera rotation) maps a Gaussian with 3D covariance S to
// the 2D covariance [a b; b c] = P S P^T + 0.3 I. With S = M M^T (M = rotation * scale) and n_i = M^T P_i,
// a = n_0.n_0, b = n_0.n_1, c = n_1.n_1 and det = |n_0 x n_1|^2: sums of squares, which stay accurate for needles,
// unlike a c - b^2 in single precision.
#pragma once

#include "gaussian_math.h"

namespace gaussian {

// Intermediate results of the projection that the backward pass needs.
template <class T>
struct Projection {
  Splat<T> splat;
  T camera[3];     // mean in camera axes; camera[2] is the depth
  T p[2][3];       // rows of P
  T m[9];          // M row-major (not set when covariances are given)
  T a, b, c, det;  // 2D covariance without blur and its determinant
  T compensation;  // opacity factor of antialiasing, 1 without it
  // ceil(3 sqrt(largest eigenvalue)), px. Deviates from the published kernels, whose discriminant is 0.1 or more.
  int32_t radius;
};

// Rotation matrix (row-major) of quaternion wxyz; the identity for a quaternion too short to have a direction.
template <class V>
GAUSSIAN_FN void rotation_matrix(const V* q, V* r) {
  using std::sqrt;
  const V norm2 = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
  const auto directed = norm2 > V(1e-24);
  const V inverse = choose(directed, V(1) / sqrt(norm2), V(0));
  const V w = choose(directed, q[0] * inverse, V(1));
  const V x = q[1] * inverse, y = q[2] * inverse, z = q[3] * inverse;
  r[0] = 1 - 2 * (y * y + z * z), r[1] = 2 * (x * y - w * z), r[2] = 2 * (x * z + w * y);
  r[3] = 2 * (x * y + w * z), r[4] = 1 - 2 * (x * x + z * z), r[5] = 2 * (y * z - w * x);
  r[6] = 2 * (x * z - w * y), r[7] = 2 * (y * z + w * x), r[8] = 1 - 2 * (x * x + y * y);
}

// Symmetric matrix (xx xy xz yy yz zz) times vector.
template <class T>
GAUSSIAN_FN void symmetric_times(const T* s, const T* v, T* out) {
  out[0] = s[0] * v[0] + s[1] * v[1] + s[2] * v[2];
  out[1] = s[1] * v[0] + s[3] * v[1] + s[4] * v[2];
  out[2] = s[2] * v[0] + s[4] * v[1] + s[5] * v[2];
}

// The projection of a mean.
template <class V>
struct ProjectedMean {
  V inverse_z, ratio_x, ratio_y;  // x / z, y / z
  V tx, ty;                       // the same, clamped to the margin around the image
};

template <class V, class T>
GAUSSIAN_FN void camera_position(const Camera<T>& camera, const V* mean, V* position) {
  for (int k = 0; k < 3; ++k) position[k] = dot3(camera.rotation + 3 * k, mean) + V(camera.translation[k]);
}

template <class V, class T>
GAUSSIAN_FN ProjectedMean<V> project_mean(const Camera<T>& camera, const V* position) {
  ProjectedMean<V> s;
  s.inverse_z = V(1) / position[2], s.ratio_x = position[0] * s.inverse_z, s.ratio_y = position[1] * s.inverse_z;
  const V limit_x = V(T(kFrustumMargin) * camera.tan_x), limit_y = V(T(kFrustumMargin) * camera.tan_y);
  s.tx = clamped(s.ratio_x, -limit_x, limit_x), s.ty = clamped(s.ratio_y, -limit_y, limit_y);
  return s;
}

// A cheap test that culls most Gaussians outside the image before the rest of the projection: a sphere with the largest
// standard deviation (`scales` times `modifier`) reaches no pixel along either image axis even at opacity 1
// (q <= 2 ln 255). For a rotation, |P_0| <= (fx / z) sqrt(1 + tx^2); other camera matrices get the exact test only.
template <class V, class T>
GAUSSIAN_FN auto surely_outside(const Camera<T>& camera, const V* scales, T modifier, V opacity,
                                const ProjectedMean<V>& s) {
  const V largest = larger(square(scales[0]), larger(square(scales[1]), square(scales[2]))) * V(square(modifier));
  const V x = camera.fx * s.ratio_x + camera.cx, y = camera.fy * s.ratio_y + camera.cy, half = V(0.5);
  const V beside_x = larger(larger(half - x, x - V(T(camera.width) - T(0.5))), V(0));
  const V beside_y = larger(larger(half - y, y - V(T(camera.height) - T(0.5))), V(0));
  const V reach2 = V(11.2);  // 2 ln 255 = 11.08, plus a margin for rounding
  const V width2 = square(camera.fx * s.inverse_z) * (V(1) + s.tx * s.tx) * largest + V(kBlur);
  const V height2 = square(camera.fy * s.inverse_z) * (V(1) + s.ty * s.ty) * largest + V(kBlur);
  return (opacity <= V(1)) & ((square(beside_x) > reach2 * width2) | (square(beside_y) > reach2 * height2));
}

// Rows of P.
template <class V, class T>
GAUSSIAN_FN void image_axes(const Camera<T>& camera, const ProjectedMean<V>& s, V (*p)[3]) {
  const T* w = camera.rotation;
  for (int k = 0; k < 3; ++k) {
    p[0][k] = camera.fx * s.inverse_z * (w[k] - s.tx * w[6 + k]);
    p[1][k] = camera.fy * s.inverse_z * (w[3 + k] - s.ty * w[6 + k]);
  }
}

// M and the 2D covariance without blur, from P.
template <class V, class T>
GAUSSIAN_FN void project_shape(const V* scales, T modifier, const V* rotation, Projection<V>& out) {
  V r[9], n[2][3];
  rotation_matrix(rotation, r);
  for (int k = 0; k < 3; ++k) {
    const V scale = modifier * scales[k];
    for (int row = 0; row < 3; ++row) out.m[3 * row + k] = r[3 * row + k] * scale;
  }
  for (int row = 0; row < 2; ++row)
    for (int k = 0; k < 3; ++k)
      n[row][k] = out.p[row][0] * out.m[k] + out.p[row][1] * out.m[3 + k] + out.p[row][2] * out.m[6 + k];
  out.a = dot3(n[0], n[0]), out.b = dot3(n[0], n[1]), out.c = dot3(n[1], n[1]);
  out.det = square(n[0][1] * n[1][2] - n[0][2] * n[1][1]) + square(n[0][2] * n[1][0] - n[0][0] * n[1][2]) +
            square(n[0][0] * n[1][1] - n[0][1] * n[1][0]);
}

// The quadratic form of the splat, from the 2D covariance; complete the square in dx:
// q = (c / det) (dx - (b / c) dy)^2 + dy^2 / c. Returns the determinant with blur.
template <class V>
GAUSSIAN_FN V quadratic_form(Projection<V>& out) {
  using std::sqrt;
  const V blur = V(kBlur), c = out.c + blur;
  const V det = out.det + blur * (out.a + out.c) + blur * blur;
  out.splat.ux = sqrt(V(kHalfLog2E) * c / det);
  out.splat.uy = -out.splat.ux * out.b / c;
  out.splat.vy = sqrt(V(kHalfLog2E) / c);
  return det;
}

// The splat and its radius, from the 2D covariance. False if it reaches no pixel or a value is not finite.
template <class V, class T>
GAUSSIAN_FN auto make_splat(const Camera<T>& camera, const ProjectedMean<V>& projected_mean, V given_opacity,
                            bool antialiasing, Projection<V>& out, V& radius) {
  using std::ceil, std::floor, std::log2, std::sqrt;
  const V blur = V(kBlur), a = out.a + blur, c = out.c + blur, det = quadratic_form(out);
  out.compensation = antialiasing ? sqrt(larger(out.det / det, V(kMinCompensation2))) : V(1);

  Splat<V>& s = out.splat;
  s.x = camera.fx * projected_mean.ratio_x + camera.cx;
  s.y = camera.fy * projected_mean.ratio_y + camera.cy;
  const V opacity = given_opacity * out.compensation;
  s.log2_opacity = log2(opacity);

  // Larger eigenvalue; the radicand is a sum of squares.
  const V half_difference = V(0.5) * (a - c);
  radius = ceil(V(3) * sqrt(V(0.5) * (a + c) + sqrt(square(half_difference) + out.b * out.b)));
  // Huge inputs can overflow anywhere above; non-finite splats are culled.
  const Extent<V> e = extent(s);
  const auto sound = finite(s.x) & finite(s.y) & finite(s.ux) & finite(s.uy) & finite(radius) & finite(e.half_width) &
                     (s.ux > V(0)) & (s.vy > V(0)) & (opacity >= V(kMinAlpha));
  const V exact = sqrt(larger(s.log2_opacity - V(kLog2MinAlpha), V(0)) / e.reach);  // removes the margin
  const V half_width = exact * e.half_width, half_height = exact * e.half_height, half = V(0.5);
  const V left = larger(s.x - half_width, half), right = smaller(s.x + half_width, V(T(camera.width) - T(0.5)));
  const V top = larger(s.y - half_height, half), bottom = smaller(s.y + half_height, V(T(camera.height) - T(0.5)));
  return sound & (ceil(left - half) <= floor(right - half)) & (ceil(top - half) <= floor(bottom - half));
}

// M, P and the 2D covariance of Gaussian i. False if a given covariance is not positive semidefinite (it is caller
// input).
template <class T>
GAUSSIAN_FN bool project_covariance(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t i,
                                    const ProjectedMean<T>& projected_mean, Projection<T>& out) {
  image_axes(camera, projected_mean, out.p);
  if (!gaussians.covariances) {
    project_shape(gaussians.scales + 3 * i, gaussians.scale_modifier, gaussians.rotations + 4 * i, out);
    return true;
  }
  const T* s = gaussians.covariances + 6 * i;
  T sp0[3], sp1[3];
  symmetric_times(s, out.p[0], sp0);
  symmetric_times(s, out.p[1], sp1);
  out.a = dot3(out.p[0], sp0), out.b = dot3(out.p[0], sp1), out.c = dot3(out.p[1], sp1);
  const T det = out.a * out.c - out.b * out.b;
  out.det = larger(det, T(0));
  return out.a >= 0 && out.c >= 0 && det >= T(-1e-5) * out.a * out.c;
}

// Projects Gaussian i. Returns false if it is culled; the radius and the splat are then undefined.
template <class T>
GAUSSIAN_FN bool project(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t i, Projection<T>& out) {
  camera_position(camera, gaussians.means + 3 * i, out.camera);
  if (!(out.camera[2] > T(kNearPlane))) return false;
  const ProjectedMean<T> projected_mean = project_mean(camera, out.camera);
  if (!gaussians.covariances && camera.rigid &&
      surely_outside(camera, gaussians.scales + 3 * i, gaussians.scale_modifier, gaussians.opacities[i],
                     projected_mean))
    return false;
  if (!project_covariance(camera, gaussians, i, projected_mean, out)) return false;
  T radius;
  if (!make_splat(camera, projected_mean, gaussians.opacities[i], gaussians.antialiasing, out, radius)) return false;
  out.radius = static_cast<int32_t>(smaller(radius, T(1 << 30)));
  return true;
}

}  // namespace gaussian
