// The kernels of view_kernels.h. `L` is the vector class of the instruction set; as a template parameter it also
// gives the functions of each translation unit different names.
#pragma once

#include "../projection_backward.h"
#include "project_kernel_impl.h"
#include "tile_kernels_impl.h"
#include "view_kernels.h"

namespace gaussian::cpu {

template <class L>
struct ViewKernelsOf {
  using T = typename L::Real;
  using Row = KeyValue<DepthKey<T>>;
  static constexpr int64_t kAhead = 16, kFarAhead = 64;  // rows to prefetch ahead, for slow and fast rows

  static int64_t count(const TileGrid& grid, const Row* rows, int64_t begin, int64_t end, const VisibleSplat<T>* splats,
                       VisibleSplat<T>* sorted, PairCount* counts, uint32_t* tile_steps, int32_t* span_counts,
                       Span* spans, int64_t room, int64_t& used) {
    used = 0;
    for (int64_t i = begin; i < end; i += kLanes) {
      if (room - used <= int64_t(kLanes) * grid.tiles_y) return i;
      const int64_t lanes = end - i < kLanes ? end - i : kLanes;
      L in[kLanes], columns[kLanes];
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        if (i + lane + kFarAhead < end) __builtin_prefetch(&splats[rows[i + lane + kFarAhead].value]);
        const VisibleSplat<T>& one =
            splats[rows[i + (lane < lanes ? lane : 0)].value];  // missing lanes repeat the first
        T row[kLanes];
        __builtin_memcpy(row, &one, sizeof(row));
        in[lane] = L::load(row);
        if (lane < lanes) sorted[i + lane] = one;
      }
      L::transpose8(in, columns);
      const Splat<L> splat = {columns[0], columns[1], columns[2], columns[3], columns[4], columns[5]};
      const Span* span = spans + used;
      used += find_spans(grid, splat, sorted + i, lanes, span_counts + i, spans + used);
      for (int64_t lane = 0; lane < lanes; ++lane) {
        uint32_t tiles = 0;
        for (int k = 0; k < span_counts[i + lane]; ++k, ++span) {
          uint32_t* row = tile_steps + int64_t(span->tile_y) * (grid.tiles_x + 1);
          ++row[span->first], --row[span->last + 1];
          tiles += uint32_t(span->last - span->first + 1);
        }
        counts[i + lane] = {uint32_t(sorted[i + lane].gaussian), tiles};
      }
    }
    return end;
  }

  // For each of 8 splats in turn, the spans of tiles (one per tile row) in which the splat may touch a pixel. Returns
  // the number of spans; one element more may be overwritten.
  static int64_t find_spans(const TileGrid& grid, const Splat<L>& splat, const VisibleSplat<T>* rows, int64_t lanes,
                            int32_t* span_counts, Span* spans) {
    const L half = T(0.5), bottom_edge = T(grid.height) - T(0.5);
    const Extent<L> reach = extent(splat);
    // Rows and columns of pixel centres; compared in floating point, since values far outside overflow integers.
    const L top = ceil(larger(splat.y - reach.half_height - half, T(0)));
    const L bottom = floor(smaller(splat.y + reach.half_height, bottom_edge) - half);
    const auto on_screen = top <= bottom;
    const L first_tile = tiles_of(L::where(on_screen, top));
    int32_t first_y[kLanes], last_y[kLanes];
    first_tile.store_integers(first_y);
    choose(on_screen, tiles_of(L::where(on_screen, bottom)), L(-1)).store_integers(last_y);
    int tallest = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int height = last_y[lane] - first_y[lane] + 1;
      if (height > tallest) tallest = height;
    }
    TileRow row[kShort];
    for (int r = 0; r < kShort && r < tallest; ++r) row[r] = tile_row(grid, splat, reach, first_tile + L(r));
    Span* next = spans;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const Span* const start = next;
      const int height = last_y[lane] - first_y[lane] + 1;
      if (height <= kShort) {
        for (int r = 0; r < height; ++r) {
          *next = {first_y[lane] + r, row[r].first[lane], row[r].last[lane]};
          next += row[r].hit >> lane & 1;
        }
      } else {  // one tile row per lane
        const Splat<T>& s = rows[lane].splat;
        const Splat<L> same = {s.x, s.y, s.ux, s.uy, s.vy, s.log2_opacity};
        const Extent<L> same_reach = extent(same);
        for (int y = first_y[lane]; y <= last_y[lane]; y += kLanes) {
          const TileRow part = tile_row(grid, same, same_reach, L(y) + L::load(kRamp));
          for (int r = 0; r < kLanes && y + r <= last_y[lane]; ++r) {
            *next = {y + r, part.first[r], part.last[r]};
            next += part.hit >> r & 1;
          }
        }
      }
      span_counts[lane] = int32_t(next - start);
    }
    return next - spans;
  }
  static constexpr int kShort = 4;  // tile rows; few splats are taller
  alignas(64) static constexpr T kRamp[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7};

  struct TileRow {
    int32_t first[kLanes], last[kLanes];
    uint32_t hit;
  };
  static TileRow tile_row(const TileGrid& grid, const Splat<L>& splat, const Extent<L>& reach, L tile_y) {
    const L half = T(0.5), right_edge = T(grid.width) - T(0.5), bottom_edge = T(grid.height) - T(0.5);
    const L first_row = tile_y * T(kTile) + half, last_row = smaller(first_row + T(kTile - 1), bottom_edge);
    L left, right;
    const auto crossed = band_span(splat, reach, first_row - splat.y, last_row - splat.y, left, right);
    const L first = ceil(larger(splat.x + left - half, T(0))),
            last = floor(smaller(splat.x + right, right_edge) - half);
    const auto hit = crossed & (first <= last);
    TileRow out;
    tiles_of(L::where(hit, first)).store_integers(out.first);
    tiles_of(L::where(hit, last)).store_integers(out.last);
    out.hit = L::bits(hit);
    return out;
  }
  static L tiles_of(L pixels) { return floor(pixels * T(1.0 / kTile)); }

  static void place(const TileGrid& grid, int64_t begin, int64_t end, const VisibleSplat<T>* sorted,
                    const int32_t* span_counts, const Span* spans, uint32_t* next, Pair<T>* pairs,
                    const uint32_t* pair_begin, uint32_t* pair_place) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) __builtin_prefetch(&pair_begin[sorted[i + kAhead].gaussian]);
      const VisibleSplat<T>& row = sorted[i];
      const T reach = extent(row.splat).reach;
      uint32_t* places = pair_place + pair_begin[row.gaussian];
      for (const Span* last = spans + span_counts[i]; spans < last; ++spans) {
        uint32_t* tiles = next + int64_t(spans->tile_y) * grid.tiles_x;
        const T center_y = T(spans->tile_y * kTile + kTile / 2);
        for (int strip = spans->first; strip <= spans->last; strip += kStrip) {
          const typename L::Bits blocks = strip_blocks(row.splat, reach, T(strip * kTile + kTile / 2), center_y);
          for (int k = 0; k < kStrip && strip + k <= spans->last; ++k) {
            const uint32_t at = tiles[strip + k]++;
            Pair<T>& pair = pairs[at];
            __builtin_prefetch(&pair + 2, 1);  // the next write to this tile comes thousands of pairs later
            const T dx = T((strip + k) * kTile + kTile / 2) - row.splat.x, dy = center_y - row.splat.y;
            pair.a0 = row.splat.ux * dx + row.splat.uy * dy, pair.b0 = row.splat.vy * dy;
            pair.ux = row.splat.ux, pair.uy = row.splat.uy, pair.vy = row.splat.vy;
            pair.log2_opacity = row.splat.log2_opacity;
            pair.blocks = L::nibbles(blocks, k);
            pair.gaussian = uint32_t(row.gaussian);
            *places++ = at;
          }
        }
      }
    }
  }

  // The blocks that a splat reaches in 8 tiles: the one with the given centre and those to its right. Lanes are the 8
  // block rows; each row of pixel centres intersects the ellipse in an interval of x.
  static typename L::Bits strip_blocks(const Splat<T>& splat, T reach, T center_x, T center_y) {
    const T dx = center_x - splat.x, dy = center_y - splat.y;
    const L inverse = T(1) / splat.ux, even = L::load(kEvenRows);
    const T a0 = splat.ux * dx + splat.uy * dy, b0 = splat.vy * dy;
    return L::either(row_blocks(splat, a0, b0, even, inverse, reach),
                     row_blocks(splat, a0, b0, even + L(1), inverse, reach));
  }
  static constexpr int kStrip = 8;  // tiles whose block columns fit the bits of a lane
  alignas(64) static constexpr T kEvenRows[kLanes] = {-7.5, -5.5, -3.5, -1.5, 0.5, 2.5, 4.5, 6.5};

  // Per lane, the blocks that the ellipse touches in the pixel row at `y`.
  static typename L::Bits row_blocks(const Splat<T>& splat, T a0, T b0, L y, L inverse, L limit) {
    const L t2 = L::fma(splat.vy, y, b0);
    const L rest = L::fnma(t2, t2, limit);
    const L half = sqrt(larger(rest, T(0))) * inverse;
    const L middle = L::fnma(L::fma(splat.uy, y, a0), inverse, T(7.5));
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
        ParameterGradient<T> out{};
        if (view.depth[i] > 0) {
          Projection<T> projection;
          project_visible(camera, gaussians, i, projection);
          project_backward(camera, gaussians, i, projection, {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]},
                           sums[6], out);
        }
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

  static constexpr ViewKernels<T> table = {ProjectKernelOf<L>::project, count, place, gather};
};

}  // namespace gaussian::cpu
