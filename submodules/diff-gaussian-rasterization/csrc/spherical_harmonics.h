// Spherical harmonics of the viewing direction, and their derivatives.
#pragma once

#include "gaussian_math.h"

namespace gaussian {

// Real spherical harmonics up to `degree` at the unit direction (x, y, z), in the order and signs of the 3DGS files.
template <class T>
GAUSSIAN_FN void sh_basis(int degree, T x, T y, T z, T* basis) {
  basis[0] = T(0.28209479177387814);
  if (degree < 1) return;
  basis[1] = T(-0.4886025119029199) * y, basis[2] = T(0.4886025119029199) * z, basis[3] = T(-0.4886025119029199) * x;
  if (degree < 2) return;
  const T xx = x * x, yy = y * y, zz = z * z;
  basis[4] = T(1.0925484305920792) * x * y;
  basis[5] = T(-1.0925484305920792) * y * z;
  basis[6] = T(0.31539156525252005) * (2 * zz - xx - yy);
  basis[7] = T(-1.0925484305920792) * x * z;
  basis[8] = T(0.5462742152960396) * (xx - yy);
  if (degree < 3) return;
  basis[9] = T(-0.5900435899266435) * y * (3 * xx - yy);
  basis[10] = T(2.890611442640554) * x * y * z;
  basis[11] = T(-0.4570457994644658) * y * (4 * zz - xx - yy);
  basis[12] = T(0.3731763325901154) * z * (2 * zz - 3 * xx - 3 * yy);
  basis[13] = T(-0.4570457994644658) * x * (4 * zz - xx - yy);
  basis[14] = T(1.445305721320277) * z * (xx - yy);
  basis[15] = T(-0.5900435899266435) * x * (xx - 3 * yy);
}

// Gradient of sum_k weight[k] basis[k] with respect to (x, y, z), treated as independent variables.
template <class T>
GAUSSIAN_FN void sh_basis_backward(int degree, T x, T y, T z, const T* weight, T* grad) {
  grad[0] = grad[1] = grad[2] = 0;
  if (degree < 1) return;
  const T k1 = T(0.4886025119029199);
  grad[0] = -k1 * weight[3], grad[1] = -k1 * weight[1], grad[2] = k1 * weight[2];
  if (degree < 2) return;
  const T k2 = T(1.0925484305920792), k20 = T(0.31539156525252005);
  grad[0] += k2 * (y * weight[4] - z * weight[7] + x * weight[8]) - 2 * k20 * x * weight[6];
  grad[1] += k2 * (x * weight[4] - z * weight[5] - y * weight[8]) - 2 * k20 * y * weight[6];
  grad[2] += k2 * (-y * weight[5] - x * weight[7]) + 4 * k20 * z * weight[6];
  if (degree < 3) return;
  const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, xz = x * z, yz = y * z;
  const T a = T(0.5900435899266435), b = T(2.890611442640554), c = T(0.4570457994644658), d = T(0.3731763325901154),
          e = T(1.445305721320277);
  grad[0] += -6 * a * xy * weight[9] + b * yz * weight[10] + 2 * c * xy * weight[11] - 6 * d * xz * weight[12] -
             c * (4 * zz - 3 * xx - yy) * weight[13] + 2 * e * xz * weight[14] - 3 * a * (xx - yy) * weight[15];
  grad[1] += -3 * a * (xx - yy) * weight[9] + b * xz * weight[10] - c * (4 * zz - xx - 3 * yy) * weight[11] -
             6 * d * yz * weight[12] + 2 * c * xy * weight[13] - 2 * e * yz * weight[14] + 6 * a * xy * weight[15];
  grad[2] += b * xy * weight[10] - 8 * c * yz * weight[11] + 3 * d * (2 * zz - xx - yy) * weight[12] -
             8 * c * xz * weight[13] + e * (xx - yy) * weight[14];
}

// Unit vector from `center` to `mean`; returns 1 / distance, or 0 (and the z axis) when they coincide.
template <class T>
GAUSSIAN_FN T view_direction(const T* mean, const T* center, T* direction) {
  for (int k = 0; k < 3; ++k) direction[k] = mean[k] - center[k];
  const T length2 = dot3(direction, direction);
  if (!(length2 > T(1e-30))) {
    direction[0] = direction[1] = 0, direction[2] = 1;
    return 0;
  }
  const T inverse = T(1) / std::sqrt(length2);
  for (int k = 0; k < 3; ++k) direction[k] *= inverse;
  return inverse;
}

}  // namespace gaussian
