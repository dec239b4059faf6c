// The loops over Gaussians that prepare a view, one table of functions per instruction set.
#pragma once

#include "../gaussian_math.h"
#include "prepared_view.h"
#include "radix_sort.h"
#include "tile_kernels.h"

namespace gaussian::cpu {

// Positive floating-point numbers order like their bits.
template <class T>
using DepthKey = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

constexpr int kGeometrySlot = 7;

struct TileGrid {
  int32_t width, height;  // pixels
  int32_t tiles_x, tiles_y;
};

// Gradients of one pass, one row per pair: if `geometry`, a SplatGradient and the gradient with respect to depth; then
// feature channels [first, last) of `channels`.
template <class T>
struct Slots {
  const T* rows;
  bool geometry;
  int64_t first, last, channels;
  int64_t geometry_width() const { return geometry ? kGeometrySlot : 0; }
  int64_t width() const { return geometry_width() + last - first; }
};

// A Gaussian that is not culled. Rows of 8 numbers, as wide as a vector, so that 8 rows can be transposed in registers.
template <class T>
struct VisibleSplat {
  Splat<T> splat;
  T depth;
  DepthKey<T> gaussian;
};

// Tiles first to last of a row of tiles.
struct Span {
  int32_t tile_y, first, last;
};

struct PairCount {
  uint32_t gaussian, pairs;
};

template <class T>
struct ViewKernels {
  // Projects Gaussians [begin, end), with `begin` a multiple of 8, and writes their radii and depths. Writes the
  // visible ones contiguously to `splats` starting at `begin` (up to 7 elements after `end` are overwritten) and their
  // (depth, index) rows to `rows`. Returns the number of visible Gaussians.
  int64_t (*project)(const Camera<T>&, const Gaussians<T>&, int64_t begin, int64_t end, int32_t* radii, T* depth,
                     VisibleSplat<T>* splats, KeyValue<DepthKey<T>>* rows);
  // Copies rows [begin, end) into depth order, writes their spans (row i has span_counts[i]) and counts pairs: per
  // Gaussian, and per tile as the difference from the tile to the left, [tiles_y, tiles_x + 1]. Stops before `spans`
  // could overflow; returns the next row and sets `used` to the number of spans written. Space for kLanes * tiles_y
  // spans is enough to make progress.
  int64_t (*count)(const TileGrid&, const KeyValue<DepthKey<T>>* rows, int64_t begin, int64_t end,
                   const VisibleSplat<T>* splats, VisibleSplat<T>* sorted, PairCount* counts, uint32_t* tile_steps,
                   int32_t* span_counts, Span* spans, int64_t room, int64_t& used);
  // Writes the pairs of the same rows: the next pair of tile t goes to pairs[next[t]++]. The indices of Gaussian i's
  // pairs go to pair_place, starting at pair_begin[i].
  void (*place)(const TileGrid&, int64_t begin, int64_t end, const VisibleSplat<T>* sorted, const int32_t* span_counts,
                const Span* spans, uint32_t* next, Pair<T>* pairs, const uint32_t* pair_begin, uint32_t* pair_place);
  // Sums the slots of the pairs of Gaussians [begin, end) and runs the backward pass of the projection.
  void (*gather)(const Camera<T>&, const Gaussians<T>&, const PreparedView<T>&, const Slots<T>&, int64_t begin,
                 int64_t end, const Gradients<T>&);
};

const ViewKernels<float>& avx2_view_kernels();
const ViewKernels<float>& avx512_view_kernels();
const ViewKernels<float>& neon_view_kernels();
template <class T>
const ViewKernels<T>& scalar_view_kernels();
template <class T>
const ViewKernels<T>& view_kernels();
template <>
const ViewKernels<float>& view_kernels<float>();
template <>
const ViewKernels<double>& view_kernels<double>();

}  // namespace gaussian::cpu
