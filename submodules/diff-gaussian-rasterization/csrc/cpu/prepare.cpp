// Projection, culling, depth order and tile lists. Every result is independent of the number of threads: pieces of work
// are joined in a fixed order by prefix sums.
#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "../backend.h"
#include "../gaussian_math.h"
#include "parallel.h"
#include "prepared_view.h"
#include "radix_sort.h"

namespace gaussian::cpu {
namespace {

constexpr int64_t kProjectGrain = 4096;

template <class T>
using DepthKey = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// Bits of a positive number order like the number.
template <class T>
DepthKey<T> depth_key(T depth) {
  DepthKey<T> key;
  std::memcpy(&key, &depth, sizeof(key));
  return key;
}

template <class T>
int pixel_floor(T v, int low, int high) {
  return int(std::floor(clamped(v, T(low), T(high))));
}

// Calls visit(tile_x, tile_y) for every tile of which `splat` may touch a pixel centre.
template <class T, class Visit>
void for_each_tile(const Splat<T>& splat, const Extent<T>& reach, int width, int height, Visit&& visit) {
  const T half = T(0.5);
  const int top = pixel_floor(std::ceil(splat.y - reach.half_height - half), 0, height);
  const int bottom = pixel_floor(splat.y + reach.half_height - half, -1, height - 1);
  for (int tile_y = top / kTile; tile_y * kTile <= bottom; ++tile_y) {
    const int first_row = tile_y * kTile, last_row = std::min(first_row + kTile, height) - 1;
    T left, right;
    if (!band_span(splat, reach, T(first_row) + half - splat.y, T(last_row) + half - splat.y, left, right)) continue;
    const int first = pixel_floor(std::ceil(splat.x + left - half), 0, width);
    const int last = pixel_floor(splat.x + right - half, -1, width - 1);
    if (first > last) continue;
    for (int tile_x = first / kTile; tile_x <= last / kTile; ++tile_x) visit(tile_x, tile_y);
  }
}

template <class T>
T* take(Allocator allocator, int64_t length) {
  return static_cast<T*>(allocator.allocate(allocator.context, size_t(length) * sizeof(T)));
}

template <class T>
struct Visible {
  KeyValue<DepthKey<T>>* order;  // by depth; value is the Gaussian
  int64_t count;
};

template <class T>
Visible<T> project_all(const Camera<T>& camera, const Gaussians<T>& gaussians, int32_t* radii, Splat<T>* splats,
                       T* depth, Allocator scratch, int threads) {
  const int64_t n = gaussians.count, pieces = (n + kProjectGrain - 1) / kProjectGrain;
  auto* rows = take<KeyValue<DepthKey<T>>>(scratch, n);
  auto* other = take<KeyValue<DepthKey<T>>>(scratch, n);
  std::vector<int64_t> seen(pieces + 1);
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    const int64_t begin = piece * kProjectGrain, end = std::min(begin + kProjectGrain, n);
    int64_t next = begin;
    Projection<T> projection;
    for (int64_t i = begin; i < end; ++i) {
      const bool visible = project(camera, gaussians, i, projection);
      radii[i] = visible ? projection.radius : 0;
      depth[i] = visible ? projection.camera[2] : T(0);
      if (!visible) continue;
      splats[i] = projection.splat;
      other[next++] = {depth_key(projection.camera[2]), uint32_t(i)};
    }
    seen[piece + 1] = next - begin;
  });
  std::partial_sum(seen.begin(), seen.end(), seen.begin());
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    std::copy_n(other + piece * kProjectGrain, seen[piece + 1] - seen[piece], rows + seen[piece]);
  });
  return {radix_sort(rows, other, seen[pieces], threads), seen[pieces]};
}

}  // namespace

template <class T>
Prepared prepare_view(const Camera<T>& camera, const Gaussians<T>& gaussians, int32_t* radii, Allocator state,
                      Allocator scratch, const Execution& execution) {
  const int threads = execution.threads, width = camera.width, height = camera.height;
  if (gaussians.count >= (int64_t(1) << 32)) throw std::length_error("more than 2^32 Gaussians");
  auto* splats = take<Splat<T>>(scratch, gaussians.count);
  T* depth = take<T>(scratch, gaussians.count);
  const Visible<T> visible = project_all(camera, gaussians, radii, splats, depth, scratch, threads);

  PreparedHeader sizes{};
  sizes.count = gaussians.count, sizes.num_visible = visible.count;
  sizes.width = width, sizes.height = height;
  sizes.tiles_x = (width + kTile - 1) / kTile, sizes.tiles_y = (height + kTile - 1) / kTile;
  const int64_t tiles = int64_t(sizes.tiles_x) * sizes.tiles_y;

  // Count pairs per tile and per Gaussian, in pieces of the depth order.
  const int64_t grain = std::max<int64_t>(1, (visible.count + threads - 1) / threads);
  const int64_t pieces = (visible.count + grain - 1) / grain;
  auto* sorted = take<Splat<T>>(scratch, visible.count);
  auto* extents = take<Extent<T>>(scratch, visible.count);
  auto* counts = take<uint32_t>(scratch, visible.count);
  std::vector<uint32_t> place(size_t(pieces) * tiles);
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    uint32_t* histogram = place.data() + piece * tiles;
    for (int64_t i = piece * grain; i < std::min((piece + 1) * grain, visible.count); ++i) {
      sorted[i] = splats[visible.order[i].value];
      extents[i] = extent(sorted[i]);
      uint32_t pairs = 0;
      for_each_tile(sorted[i], extents[i], width, height, [&](int x, int y) {
        ++histogram[int64_t(y) * sizes.tiles_x + x];
        ++pairs;
      });
      counts[i] = pairs;
    }
  });
  for (int64_t i = 0; i < visible.count; ++i) sizes.num_pairs += counts[i];
  if (sizes.num_pairs >= (int64_t(1) << 32))
    throw std::length_error("the view has " + std::to_string(sizes.num_pairs) +
                            " (Gaussian, tile) pairs; the CPU backend holds 2^32");

  PreparedView<T> view;
  const size_t bytes = view.place(nullptr, sizes);
  char* memory = take<char>(state, int64_t(bytes));
  view.place(memory, sizes);
  *view.header = sizes;
  std::copy_n(depth, gaussians.count, view.depth);

  uint32_t next = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    view.tile_begin[tile] = next;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const uint32_t size = place[piece * tiles + tile];
      place[piece * tiles + tile] = next;
      next += size;
    }
  }
  view.tile_begin[tiles] = next;
  next = 0;
  for (int64_t i = 0; i < visible.count; ++i) {
    view.gaussian[i] = visible.order[i].value;
    view.pair_begin[i] = next;
    next += counts[i];
  }
  view.pair_begin[visible.count] = next;
  std::iota(view.tile_order, view.tile_order + tiles, 0u);
  std::stable_sort(view.tile_order, view.tile_order + tiles, [&](uint32_t a, uint32_t b) {
    return view.tile_begin[a + 1] - view.tile_begin[a] > view.tile_begin[b + 1] - view.tile_begin[b];
  });

  // Place the pairs: each piece writes its own range of every tile, in depth order.
  const auto make_pair = kernels<T>().make_pair;
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    uint32_t* start = place.data() + piece * tiles;
    for (int64_t i = piece * grain; i < std::min((piece + 1) * grain, visible.count); ++i) {
      uint32_t* places = view.pair_place + view.pair_begin[i];
      for_each_tile(sorted[i], extents[i], width, height, [&](int x, int y) {
        const uint32_t at = start[int64_t(y) * sizes.tiles_x + x]++;
        Pair<T>& pair = view.pairs[at];
        make_pair(&sorted[i].x, extents[i].reach, T(x * kTile + kTile / 2), T(y * kTile + kTile / 2), pair);
        pair.gaussian = view.gaussian[i];
        *places++ = at;
      });
    }
  });
  return {memory, int64_t(bytes), sizes.num_visible, sizes.num_pairs};
}

Prepared prepare(const Camera<float>& camera, const Gaussians<float>& gaussians, int32_t* radii, Allocator state,
                 Allocator scratch, const Execution& execution) {
  return prepare_view(camera, gaussians, radii, state, scratch, execution);
}
Prepared prepare(const Camera<double>& camera, const Gaussians<double>& gaussians, int32_t* radii, Allocator state,
                 Allocator scratch, const Execution& execution) {
  return prepare_view(camera, gaussians, radii, state, scratch, execution);
}

}  // namespace gaussian::cpu
