// Projection of a Gaussian to its splat, and its backward pass.
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

// Gradient of rotation_matrix with respect to the unnormalised quaternion.
template <class T>
GAUSSIAN_FN void rotation_matrix_backward(const T* q, const T* grad_r, T* grad_q) {
  const T norm2 = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
  if (!(norm2 > T(1e-24))) {
    grad_q[0] = grad_q[1] = grad_q[2] = grad_q[3] = 0;
    return;
  }
  const T inverse = T(1) / std::sqrt(norm2);
  const T w = q[0] * inverse, x = q[1] * inverse, y = q[2] * inverse, z = q[3] * inverse;
  const T* g = grad_r;
  const T gw = 2 * (z * (g[3] - g[1]) + y * (g[2] - g[6]) + x * (g[7] - g[5]));
  const T gx = 2 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5]) - 2 * x * (g[4] + g[8]));
  const T gy = 2 * (x * (g[1] + g[3]) + z * (g[5] + g[7]) + w * (g[2] - g[6]) - 2 * y * (g[0] + g[8]));
  const T gz = 2 * (x * (g[2] + g[6]) + y * (g[5] + g[7]) + w * (g[3] - g[1]) - 2 * z * (g[0] + g[4]));
  const T radial = w * gw + x * gx + y * gy + z * gz;  // scaling the quaternion does not change the rotation
  grad_q[0] = inverse * (gw - w * radial), grad_q[1] = inverse * (gx - x * radial);
  grad_q[2] = inverse * (gy - y * radial), grad_q[3] = inverse * (gz - z * radial);
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

// What project_backward reads of the projection of a Gaussian that `project` found visible; the same bits for less.
template <class T>
GAUSSIAN_FN void project_visible(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t i,
                                 Projection<T>& out) {
  camera_position(camera, gaussians.means + 3 * i, out.camera);
  project_covariance(camera, gaussians, i, project_mean(camera, out.camera), out);
  quadratic_form(out);
}

// Sums over pixels that determine the gradient of a splat, with g = dL / d ln(alpha) (zero where alpha is clamped to
// 0.99) and t1, t2 as in Splat. Six numbers per (Gaussian, tile); sums of different tiles add up.
template <class T>
struct SplatGradient {
  T g, g_t1, g_t2, g_t1t1, g_t1t2, g_t2t2;
};

// Gradients with respect to the parameters of one Gaussian.
template <class T>
struct ParameterGradient {
  T mean[3], mean2d[2];  // mean2d: normalised device units
  T scale[3], rotation[4], covariance[6], opacity;
};

// Backward pass of project. `grad_depth` is the gradient with respect to camera[2] from the depth image. `p` must come
// from project_visible with the same arguments.
template <class T>
GAUSSIAN_FN void project_backward(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t i,
                                  const Projection<T>& p, const SplatGradient<T>& sums, T grad_depth,
                                  ParameterGradient<T>& out) {
  // ln alpha = ln opacity - q/2 with q = s.s, s = t / sqrt(kHalfLog2E) = L (pixel - mean). Hence
  // dL/dmean2d = L^T sum(g s) and dL/dcovariance2d = 1/2 L^T sum(g s s^T) L (from dQ = -Q dC Q, Q = L^T L).
  const T k = T(1 / kHalfLog2E);  // both factors of t carry sqrt(kHalfLog2E), and so does each entry of L
  const T ux = p.splat.ux, uy = p.splat.uy, vy = p.splat.vy;
  const T grad_x = k * ux * sums.g_t1, grad_y = k * (uy * sums.g_t1 + vy * sums.g_t2);
  out.mean2d[0] = grad_x * T(0.5) * T(camera.width);
  out.mean2d[1] = grad_y * T(0.5) * T(camera.height);
  const T half = T(0.5) * k * k;
  T grad_a = half * ux * ux * sums.g_t1t1;
  T grad_b = 2 * half * ux * (uy * sums.g_t1t1 + vy * sums.g_t1t2);  // b stands for both off-diagonal entries
  T grad_c = half * (uy * uy * sums.g_t1t1 + 2 * uy * vy * sums.g_t1t2 + vy * vy * sums.g_t2t2);

  out.opacity = gaussians.opacities[i] > 0 ? sums.g / gaussians.opacities[i] : T(0);
  const T blur = T(kBlur), det = p.det + blur * (p.a + p.c) + blur * blur;
  if (gaussians.antialiasing && p.det > T(kMinCompensation2) * det) {  // ln compensation = (ln det0 - ln det) / 2
    grad_a += T(0.5) * sums.g * (p.c / p.det - (p.c + blur) / det);
    grad_b += sums.g * p.b * (T(1) / det - T(1) / p.det);
    grad_c += T(0.5) * sums.g * (p.a / p.det - (p.a + blur) / det);
  }

  T grad_p[2][3];
  if (gaussians.covariances) {
    const T* s = gaussians.covariances + 6 * i;
    T sp0[3], sp1[3];
    symmetric_times(s, p.p[0], sp0);
    symmetric_times(s, p.p[1], sp1);
    for (int j = 0; j < 3; ++j) {
      grad_p[0][j] = 2 * grad_a * sp0[j] + grad_b * sp1[j];
      grad_p[1][j] = 2 * grad_c * sp1[j] + grad_b * sp0[j];
    }
    const T *u = p.p[0], *v = p.p[1];
    for (int row = 0, e = 0; row < 3; ++row)
      for (int col = row; col < 3; ++col, ++e) {
        const T entry =
            grad_a * u[row] * u[col] + T(0.5) * grad_b * (u[row] * v[col] + v[row] * u[col]) + grad_c * v[row] * v[col];
        out.covariance[e] = row == col ? entry : 2 * entry;
      }
  } else {
    T n[2][3], grad_n[2][3], r[9], grad_r[9];
    for (int row = 0; row < 2; ++row)
      for (int j = 0; j < 3; ++j)
        n[row][j] = p.p[row][0] * p.m[j] + p.p[row][1] * p.m[3 + j] + p.p[row][2] * p.m[6 + j];
    for (int j = 0; j < 3; ++j) {
      grad_n[0][j] = 2 * grad_a * n[0][j] + grad_b * n[1][j];
      grad_n[1][j] = 2 * grad_c * n[1][j] + grad_b * n[0][j];
    }
    for (int row = 0; row < 2; ++row)
      for (int j = 0; j < 3; ++j) grad_p[row][j] = dot3(p.m + 3 * j, grad_n[row]);
    rotation_matrix(gaussians.rotations + 4 * i, r);
    for (int col = 0; col < 3; ++col) {
      T grad_scale = 0;
      const T scale = gaussians.scale_modifier * gaussians.scales[3 * i + col];
      for (int row = 0; row < 3; ++row) {
        const T grad_m = p.p[0][row] * grad_n[0][col] + p.p[1][row] * grad_n[1][col];
        grad_scale += grad_m * r[3 * row + col];
        grad_r[3 * row + col] = grad_m * scale;
      }
      out.scale[col] = grad_scale * gaussians.scale_modifier;
    }
    rotation_matrix_backward(gaussians.rotations + 4 * i, grad_r, out.rotation);
  }

  // P_0 = (fx / z) (W_0 - tx W_2) with tx = clamp(x / z), likewise P_1; then the projected mean (fx x / z, fy y / z).
  const T* w = camera.rotation;
  const T inverse_z = T(1) / p.camera[2], ratio_x = p.camera[0] * inverse_z, ratio_y = p.camera[1] * inverse_z;
  const T limit_x = T(kFrustumMargin) * camera.tan_x, limit_y = T(kFrustumMargin) * camera.tan_y;
  const T scale_x = camera.fx * inverse_z, scale_y = camera.fy * inverse_z;
  T grad_ratio_x = scale_x * p.camera[2] * grad_x, grad_ratio_y = scale_y * p.camera[2] * grad_y;
  if (ratio_x >= -limit_x && ratio_x <= limit_x) grad_ratio_x -= scale_x * dot3(grad_p[0], w + 6);
  if (ratio_y >= -limit_y && ratio_y <= limit_y) grad_ratio_y -= scale_y * dot3(grad_p[1], w + 6);
  const T grad_camera[3] = {grad_ratio_x * inverse_z, grad_ratio_y * inverse_z,
                            grad_depth - inverse_z * (dot3(grad_p[0], p.p[0]) + dot3(grad_p[1], p.p[1]) +
                                                      grad_ratio_x * ratio_x + grad_ratio_y * ratio_y)};
  for (int j = 0; j < 3; ++j)
    out.mean[j] = w[j] * grad_camera[0] + w[3 + j] * grad_camera[1] + w[6 + j] * grad_camera[2];
}

}  // namespace gaussian
