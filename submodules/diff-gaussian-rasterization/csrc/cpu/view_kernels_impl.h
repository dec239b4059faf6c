// The kernels of view_kernels.h. `L` is the vector class of the instruction set; it also keeps the functions of one
// translation unit apart from those of another.
#pragma once

#include "tile_kernels_impl.h"
#include "view_kernels.h"

namespace gaussian::cpu {

template <class L>
struct ViewKernelsOf {
  using T = typename L::Real;
  using Row = KeyValue<DepthKey<T>>;
  static constexpr int64_t kAhead = 16;  // rows to prefetch

  static int64_t project(const Camera<T>& camera, const Gaussians<T>& gaussians, int64_t begin, int64_t end,
                         int32_t* radii, T* depth, Splat<T>* splats, Row* rows) {
    Row* next = rows;
    Projection<T> projection;
    for (int64_t i = begin; i < end; ++i) {
      const bool visible = gaussian::project(camera, gaussians, i, projection);
      radii[i] = visible ? projection.radius : 0;
      depth[i] = visible ? projection.camera[2] : T(0);
      if (!visible) continue;
      splats[i] = projection.splat;
      __builtin_memcpy(&next->key, &projection.camera[2], sizeof(next->key));
      next->value = uint32_t(i);
      ++next;
    }
    return next - rows;
  }

  static void count(const TileGrid& grid, const Row* rows, int64_t begin, int64_t end, const Splat<T>* splats,
                    Splat<T>* sorted, uint32_t* counts, uint32_t* tile_counts) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) __builtin_prefetch(&splats[rows[i + kAhead].value]);
      sorted[i] = splats[rows[i].value];
      uint32_t tiles = 0;
      for_each_span(grid, sorted[i], extent(sorted[i]), [&](int tile_y, int first, int last) {
        uint32_t* row = tile_counts + int64_t(tile_y) * grid.tiles_x;
        for (int tile_x = first; tile_x <= last; ++tile_x) ++row[tile_x];
        tiles += uint32_t(last - first + 1);
      });
      counts[rows[i].value] = tiles;
    }
  }

  static void place(const TileGrid& grid, const Row* rows, int64_t begin, int64_t end, const Splat<T>* sorted,
                    uint32_t* next, Pair<T>* pairs, const uint32_t* pair_begin, uint32_t* pair_place) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) __builtin_prefetch(&pair_begin[rows[i + kAhead].value]);
      const Splat<T> splat = sorted[i];
      const Extent<T> reach = extent(splat);
      uint32_t* places = pair_place + pair_begin[rows[i].value];
      for_each_span(grid, splat, reach, [&](int tile_y, int first, int last) {
        uint32_t* row = next + int64_t(tile_y) * grid.tiles_x;
        for (int tile_x = first; tile_x <= last; ++tile_x) {
          const uint32_t at = row[tile_x]++;
          make_pair(splat, reach.reach, T(tile_x * kTile + kTile / 2), T(tile_y * kTile + kTile / 2), pairs[at]);
          pairs[at].gaussian = rows[i].value;
          *places++ = at;
        }
      });
    }
  }

  // Calls visit(tile_y, first, last) for each row of tiles, and the tiles in it, of which the splat may touch a pixel.
  template <class Visit>
  static void for_each_span(const TileGrid& grid, const Splat<T>& splat, const Extent<T>& reach, Visit&& visit) {
    const T half = T(0.5), right_edge = T(grid.width) - half, bottom_edge = T(grid.height) - half;
    // Rows and columns of pixel centres; comparisons in floating point, since what is far outside fits no integer.
    const T top = std::ceil(larger(splat.y - reach.half_height - half, T(0)));
    const T bottom = std::floor(smaller(splat.y + reach.half_height, bottom_edge) - half);
    if (!(top <= bottom)) return;
    for (int tile_y = int(top) / kTile; tile_y <= int(bottom) / kTile; ++tile_y) {
      const T first_row = T(tile_y * kTile) + half, last_row = smaller(first_row + T(kTile - 1), bottom_edge);
      T left, right;
      if (!band_span(splat, reach, first_row - splat.y, last_row - splat.y, left, right)) continue;
      const T first = std::ceil(larger(splat.x + left - half, T(0)));
      const T last = std::floor(smaller(splat.x + right, right_edge) - half);
      if (first <= last) visit(tile_y, int(first) / kTile, int(last) / kTile);
    }
  }

  static void make_pair(const Splat<T>& splat, T reach, T center_x, T center_y, Pair<T>& pair) {
    const T dx = center_x - splat.x, dy = center_y - splat.y;
    pair.ux = splat.ux, pair.uy = splat.uy, pair.vy = splat.vy, pair.log2_opacity = splat.log2_opacity;
    pair.a0 = pair.ux * dx + pair.uy * dy;
    pair.b0 = pair.vy * dy;
    // Lanes are the 8 row pairs; each row of pixel centres cuts the ellipse in an interval of x.
    const L inverse = L::broadcast(T(1) / pair.ux), limit = L::broadcast(reach);
    const L even = L::load(kEvenRows);
    pair.blocks =
        L::nibbles(row_blocks(pair, even, inverse, limit), row_blocks(pair, even + L::broadcast(1), inverse, limit));
  }
  alignas(64) static constexpr T kEvenRows[8] = {-7.5, -5.5, -3.5, -1.5, 0.5, 2.5, 4.5, 6.5};

  // Per lane, the 4 bits of the blocks that the row at `y` touches.
  static typename L::Bits row_blocks(const Pair<T>& pair, L y, L inverse, L limit) {
    const L t2 = L::fma(L::broadcast(pair.vy), y, L::broadcast(pair.b0));
    const L rest = L::fnma(t2, t2, limit);
    const L half = L::sqrt(L::max(rest, L::broadcast(0))) * inverse;
    const L middle = L::fnma(L::fma(L::broadcast(pair.uy), y, L::broadcast(pair.a0)), inverse, L::broadcast(7.5));
    return L::column_blocks(middle - half, middle + half, rest);
  }

  static void gather(const Camera<T>& camera, const Gaussians<T>& gaussians, const PreparedView<T>& view,
                     const Slots<T>& slots, int64_t begin, int64_t end, const Gradients<T>& grads) {
    const int64_t stride = slots.width(), channels = slots.last - slots.first;
    const uint32_t* last_place = view.pair_place + view.pair_begin[end];
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t *place = view.pair_place + view.pair_begin[i],
                     *place_end = view.pair_place + view.pair_begin[i + 1];
      for (const uint32_t* at = place; at < place_end && at + kAhead < last_place; ++at) {
        __builtin_prefetch(slots.rows + at[kAhead] * stride);
        __builtin_prefetch(slots.rows + at[kAhead] * stride + stride - 1);
      }
      if (slots.geometry) {
        T sums[kGeometrySlot] = {};
        for (const uint32_t* at = place; at < place_end; ++at)
          for (int s = 0; s < kGeometrySlot; ++s) sums[s] += slots.rows[*at * stride + s];
        Projection<T> projection;
        ParameterGradient<T> out{};
        if (view.depth[i] > 0 && gaussian::project(camera, gaussians, i, projection))
          project_backward(camera, gaussians, i, projection, {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]},
                           sums[6], out);
        copy(out.mean, 3, grads.means, i);
        copy(out.mean2d, 2, grads.means2d, i);
        copy(out.scale, 3, grads.scales, i);
        copy(out.rotation, 4, grads.rotations, i);
        copy(out.covariance, 6, grads.covariances, i);
        copy(&out.opacity, 1, grads.opacities, i);
      }
      if (channels == 0) continue;
      T* out = grads.features + i * slots.channels + slots.first;
      for (int64_t c = 0; c < channels; ++c) out[c] = 0;
      for (const uint32_t* at = place; at < place_end; ++at) {
        const T* slot = slots.rows + *at * stride + slots.geometry_width();
        for (int64_t c = 0; c < channels; ++c) out[c] += slot[c];
      }
    }
  }

  static void copy(const T* from, int width, T* array, int64_t row) {
    if (!array) return;
    for (int i = 0; i < width; ++i) array[row * width + i] = from[i];
  }

  static constexpr ViewKernels<T> table = {project, count, place, gather};
};

}  // namespace gaussian::cpu
