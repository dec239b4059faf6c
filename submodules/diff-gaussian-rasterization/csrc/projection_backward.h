// Backward pass of the projection of a Gaussian to its splat. Notation as in projection.h.
#pragma once

#include "projection.h"

namespace gaussian {

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
