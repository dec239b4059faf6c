// Projection, culling, depth order and tile lists. Every result is independent of the number of threads: pieces of work
// are joined in a fixed order by prefix sums.
#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "../backend.h"
#include "parallel.h"
#include "prepared_view.h"
#include "radix_sort.h"
#include "scratch.h"
#include "view_kernels.h"

namespace gaussian::cpu {
namespace {

constexpr int64_t kProjectGrain = 4096;

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
    seen[piece + 1] = view_kernels<T>().project(camera, gaussians, begin, end, radii, depth, splats, other + begin);
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
  const TileGrid grid{width, height, sizes.tiles_x, sizes.tiles_y};

  // Count pairs per tile and per Gaussian, in pieces of the depth order.
  const int64_t grain = std::max<int64_t>(1, (visible.count + threads - 1) / threads);
  const int64_t pieces = (visible.count + grain - 1) / grain;
  auto* sorted = take<Splat<T>>(scratch, visible.count);
  auto* counts = take<uint32_t>(scratch, gaussians.count);
  std::fill_n(counts, gaussians.count, 0u);
  std::vector<uint32_t> place(size_t(pieces) * tiles);
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    view_kernels<T>().count(grid, visible.order, piece * grain, std::min((piece + 1) * grain, visible.count), splats,
                            sorted, counts, place.data() + piece * tiles);
  });
  for (int64_t i = 0; i < gaussians.count; ++i) sizes.num_pairs += counts[i];
  if (sizes.num_pairs >= (int64_t(1) << 32))
    throw std::length_error("the view has " + std::to_string(sizes.num_pairs) +
                            " (Gaussian, tile) pairs; the CPU backend holds 2^32");

  PreparedView<T> view;
  const size_t bytes = view.place(nullptr, sizes, false);
  char* memory = take<char>(state, int64_t(bytes));
  view.place(memory, sizes, true);
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
  for (int64_t i = 0; i < gaussians.count; ++i) {
    view.pair_begin[i] = next;
    next += counts[i];
  }
  view.pair_begin[gaussians.count] = next;
  std::iota(view.tile_order, view.tile_order + tiles, 0u);
  std::stable_sort(view.tile_order, view.tile_order + tiles, [&](uint32_t a, uint32_t b) {
    return view.tile_begin[a + 1] - view.tile_begin[a] > view.tile_begin[b + 1] - view.tile_begin[b];
  });

  // Each piece writes its own range of every tile, in depth order.
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    view_kernels<T>().place(grid, visible.order, piece * grain, std::min((piece + 1) * grain, visible.count), sorted,
                            place.data() + piece * tiles, view.pairs, view.pair_begin, view.pair_place);
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
