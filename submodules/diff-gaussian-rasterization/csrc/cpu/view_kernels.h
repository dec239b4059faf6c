// The loops over Gaussians that make a prepared view, one table of functions per instruction set.
#pragma once

#include "../gaussian_math.h"
#include "prepared_view.h"
#include "radix_sort.h"
#include "tile_kernels.h"

namespace gaussian::cpu {

// Bits of a positive number order like the number.
template <class T>
using DepthKey = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

constexpr int kGeometrySlot = 7;

struct TileGrid {
  int32_t width, height;  // pixels
  int32_t tiles_x, tiles_y;
};

// Gradients of one pass, a row per pair: with `geometry` a SplatGradient and the gradient by depth, then the feature
// channels [first, last) of `channels`.
template <class T>
struct Slots {
  const T* rows;
  bool geometry;
  int64_t first, last, channels;
  int64_t geometry_width() const { return geometry ? kGeometrySlot : 0; }
  int64_t width() const { return geometry_width() + last - first; }
};

template <class T>
struct ViewKernels {
  // Projects Gaussians [begin, end), writes their radii and depths, and the splats and (depth, index) rows of those
  // that are not culled: splats by Gaussian, rows side by side from `rows`. Returns the number of rows.
  int64_t (*project)(const Camera<T>&, const Gaussians<T>&, int64_t begin, int64_t end, int32_t* radii, T* depth,
                     Splat<T>* splats, KeyValue<DepthKey<T>>* rows);
  // Copies the splats of rows [begin, end) into depth order and counts their tiles, by Gaussian and by tile.
  void (*count)(const TileGrid&, const KeyValue<DepthKey<T>>* rows, int64_t begin, int64_t end, const Splat<T>* splats,
                Splat<T>* sorted, uint32_t* counts, uint32_t* tile_counts);
  // Writes the pairs of the same rows: the next of tile t goes to pairs[next[t]++]. The places of Gaussian i's pairs go
  // to pair_place from pair_begin[i].
  void (*place)(const TileGrid&, const KeyValue<DepthKey<T>>* rows, int64_t begin, int64_t end, const Splat<T>* sorted,
                uint32_t* next, Pair<T>* pairs, const uint32_t* pair_begin, uint32_t* pair_place);
  // Sums the slots of the pairs of Gaussians [begin, end) and takes the geometry back through the projection.
  void (*gather)(const Camera<T>&, const Gaussians<T>&, const PreparedView<T>&, const Slots<T>&, int64_t begin,
                 int64_t end, const Gradients<T>&);
};

const ViewKernels<float>& avx2_view_kernels();
template <class T>
const ViewKernels<T>& scalar_view_kernels();
template <class T>
const ViewKernels<T>& view_kernels();
template <>
const ViewKernels<float>& view_kernels<float>();
template <>
const ViewKernels<double>& view_kernels<double>();

}  // namespace gaussian::cpu
