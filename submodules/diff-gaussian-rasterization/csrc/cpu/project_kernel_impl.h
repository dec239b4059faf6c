// ViewKernels::project over the vector class `L` of an instruction set. As in tile_kernels_impl.h, only inlined
// functions of the standard library may be used.
#pragma once

#include "../projection.h"
#include "view_kernels.h"

namespace gaussian::cpu {

template <class L>
struct ProjectKernelOf {
  using T = typename L::Real;
  using Row = KeyValue<DepthKey<T>>;

  static int64_t project(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t begin, int64_t end,
                         int32_t* radii, T* depth, VisibleSplat<T>* splats, Row* rows) {
    if constexpr (L::kWide)
      if (!gaussians.covariances) return project_wide(camera, gaussians, begin, end, radii, depth, splats, rows);
    int64_t found = 0;
    Projection<T> projection;
    for (int64_t i = begin; i < end; ++i) {
      const bool visible = gaussian::project(camera, gaussians, i, projection);
      radii[i] = visible ? projection.radius : 0;
      depth[i] = visible ? projection.camera[2] : T(0);
      if (!visible) continue;
      splats[begin + found] = {projection.splat, depth[i], DepthKey<T>(i)};
      write_row(rows[found], depth[i], begin + found);
      ++found;
    }
    return found;
  }

  static void write_row(Row& row, T depth, int64_t place) {
    __builtin_memcpy(&row.key, &depth, sizeof(row.key));
    row.value = uint32_t(place);
  }

  // 8 Gaussians at a time, one per lane.
  static int64_t project_wide(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t begin, int64_t end,
                              int32_t* radii, T* depth, VisibleSplat<T>* splats, Row* rows) {
    static_assert(sizeof(VisibleSplat<T>) == kLanes * sizeof(T));
    int64_t found = 0;
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i < kLanes ? end - i : kLanes;
      Gaussians<T> eight = gaussians;
      eight.means += 3 * i, eight.scales += 3 * i, eight.rotations += 4 * i, eight.opacities += i;
      int32_t* radius = radii + i;
      T* z = depth + i;
      T means[3 * kLanes], scales[3 * kLanes], rotations[4 * kLanes], opacities[kLanes], depths[kLanes];
      int32_t radius_of[kLanes];
      if (left < kLanes) {  // pad the last ones
        eight.means = padded(eight.means, 3 * left, means, 3 * kLanes);
        eight.scales = padded(eight.scales, 3 * left, scales, 3 * kLanes);
        eight.rotations = padded(eight.rotations, 4 * left, rotations, 4 * kLanes);
        eight.opacities = padded(eight.opacities, left, opacities, kLanes);
        radius = radius_of, z = depths;
      }
      Splat<L> splat;
      const uint32_t visible = project_eight(camera, eight, splat, radius, z) & ((1u << left) - 1);
      if (left < kLanes)
        for (int64_t lane = 0; lane < left; ++lane) radii[i + lane] = radius_of[lane], depth[i + lane] = depths[lane];
      if (!visible) continue;
      const L columns[kLanes] = {
          splat.x, splat.y, splat.ux, splat.uy, splat.vy, splat.log2_opacity, L::load(z), L::integers(uint32_t(i))};
      L each[kLanes];
      T row[kLanes];
      L::transpose8(columns, each);
      for (int lane = 0; lane < kLanes; ++lane) {  // branchless: every lane is stored, the next overwrites a culled one
        each[lane].store(row);
        __builtin_memcpy(splats + begin + found, row, sizeof(row));
        write_row(rows[found], z[lane], begin + found);
        found += visible >> lane & 1;
      }
    }
    return found;
  }

  static const T* padded(const T* from, int64_t length, T* to, int64_t size) {
    for (int64_t i = 0; i < size; ++i) to[i] = i < length ? from[i] : T(0);
    return to;
  }

  // Like gaussian::project; bit i of the result is set where the i-th of the 8 Gaussians is visible.
  static uint32_t project_eight(const Camera<T>& camera, const Gaussians<T>& gaussians, Splat<L>& splat, int32_t* radii,
                                T* depth) {
    L mean[3], scales[3], rotation[4], radius = T(0);
    Projection<L> out;
    L::load_columns3(gaussians.means, mean);
    L::load_columns3(gaussians.scales, scales);
    const L opacity = L::load(gaussians.opacities);
    camera_position(camera, mean, out.camera);
    const ProjectedMean<L> projected_mean = project_mean(camera, out.camera);
    auto visible = out.camera[2] > L(kNearPlane);
    if (camera.rigid)
      visible = visible & !surely_outside(camera, scales, gaussians.scale_modifier, opacity, projected_mean);
    if (L::any(visible)) {
      L::load_columns4(gaussians.rotations, rotation);
      image_axes(camera, projected_mean, out.p);
      project_shape(scales, gaussians.scale_modifier, rotation, out);
      visible = visible & make_splat(camera, projected_mean, opacity, gaussians.antialiasing, out, radius);
      splat = out.splat;
    }
    L::where(visible, smaller(radius, T(1 << 30))).store_integers(radii);
    L::where(visible, out.camera[2]).store(depth);
    return L::bits(visible);
  }
};

}  // namespace gaussian::cpu
