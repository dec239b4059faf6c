// Projection, culling, depth order and tile lists. Every result is independent of the number of threads: pieces of work
// are joined in a fixed order by prefix sums.
#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "../backend.h"
#include "finite.h"
#include "parallel.h"
#include "prepared_view.h"
#include "radix_sort.h"
#include "scratch.h"
#include "view_kernels.h"

namespace gaussian::cpu {
namespace {

constexpr int64_t kProjectGrain = 4096;  // a multiple of kLanes

template <class T>
struct Visible {
  VisibleSplat<T>* splats;
  KeyValue<DepthKey<T>>* order;  // by depth; value is the index into `splats`
  int64_t count;
};

template <class T>
bool parameters_finite(const Gaussians<T>& g, int64_t begin, int64_t end) {
  const auto rows_finite = [&](const T* rows, int columns) {
    return all_finite(rows + columns * begin, columns * (end - begin));
  };
  const bool shape =
      g.covariances ? rows_finite(g.covariances, 6) : rows_finite(g.scales, 3) && rows_finite(g.rotations, 4);
  return shape && rows_finite(g.means, 3) && rows_finite(g.opacities, 1);
}

template <class T>
Visible<T> project_all(const Camera<T>& camera, const Gaussians<T>& gaussians, int32_t* radii, T* depth,
                       Allocator scratch, int threads) {
  const int64_t n = gaussians.count, pieces = (n + kProjectGrain - 1) / kProjectGrain;
  auto* splats = take<VisibleSplat<T>>(scratch, n + kLanes);
  auto* rows = take<KeyValue<DepthKey<T>>>(scratch, n + kLanes);
  auto* other = take<KeyValue<DepthKey<T>>>(scratch, n + kLanes);
  std::vector<int64_t> found(pieces + 1);
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    const int64_t begin = piece * kProjectGrain, end = std::min(begin + kProjectGrain, n);
    // Here the rows stay in the cache for the projection.
    if (!parameters_finite(gaussians, begin, end))
      throw std::domain_error("a Gaussian has a NaN or infinite parameter");
    found[piece + 1] = view_kernels<T>().project(camera, gaussians, begin, end, radii, depth, splats, other + begin);
  });
  std::partial_sum(found.begin(), found.end(), found.begin());
  parallel_for(threads, pieces, [&](int64_t piece, int) {
    std::copy_n(other + piece * kProjectGrain, found[piece + 1] - found[piece], rows + found[piece]);
  });
  return {splats, radix_sort(rows, other, found[pieces], threads), found[pieces]};
}

// A contiguous part of the depth order, processed by one thread. Each piece writes a separate range of every tile list.
struct Piece {
  int64_t begin, end;
  std::vector<uint32_t> tiles;  // initially differences of adjacent tiles' pair counts, later the next write index
  Buffer<Span> spans;
  int64_t num_spans = 0;
};

template <class T>
void count_pairs(const TileGrid& grid, const Visible<T>& visible, VisibleSplat<T>* sorted, PairCount* counts,
                 int32_t* span_counts, Piece& piece) {
  piece.tiles.resize(size_t(grid.tiles_x + 1) * grid.tiles_y);
  const int64_t minimum = int64_t(kLanes) * grid.tiles_y + 1;
  int64_t room = 2 * (piece.end - piece.begin) + minimum;
  for (int64_t at = piece.begin; at < piece.end; room = piece.num_spans + piece.num_spans / 2 + minimum) {
    piece.spans.reserve(size_t(room), size_t(piece.num_spans));
    int64_t used;
    at = view_kernels<T>().count(grid, visible.order, at, piece.end, visible.splats, sorted, counts, piece.tiles.data(),
                                 span_counts, piece.spans.get() + piece.num_spans, room - piece.num_spans, used);
    piece.num_spans += used;
  }
}

// Prefix sum: converts the pieces' counts to write indices. `tile_begin` [tiles + 1].
void scan_tiles(const TileGrid& grid, std::vector<Piece>& pieces, uint32_t* tile_begin) {
  uint32_t next = 0;
  std::vector<uint32_t> sizes(pieces.size());
  for (int64_t tile = 0, row = 0; row < grid.tiles_y; ++row) {
    std::fill(sizes.begin(), sizes.end(), 0u);
    for (int64_t column = 0; column < grid.tiles_x; ++column, ++tile) {
      tile_begin[tile] = next;
      for (size_t i = 0; i < pieces.size(); ++i) {
        sizes[i] += pieces[i].tiles[tile + row];
        pieces[i].tiles[tile] = next;  // overwrites only what was read: tile <= tile + row
        next += sizes[i];
      }
    }
  }
  tile_begin[int64_t(grid.tiles_x) * grid.tiles_y] = next;
}

// Longest tiles first. Radix sort: a comparison sort of thousands of tiles takes noticeable time.
template <class T>
void order_tiles(const PreparedView<T>& view, int64_t tiles) {
  std::vector<KeyValue<uint32_t>> rows(tiles), other(tiles);
  for (int64_t tile = 0; tile < tiles; ++tile)
    rows[tile] = {~(view.tile_begin[tile + 1] - view.tile_begin[tile]), uint32_t(tile)};
  const KeyValue<uint32_t>* sorted = radix_sort(rows.data(), other.data(), tiles, 1);
  for (int64_t tile = 0; tile < tiles; ++tile) view.tile_order[tile] = sorted[tile].value;
}

}  // namespace

template <class T>
Prepared prepare(const Camera<T>& camera, const Gaussians<T>& gaussians, int32_t* radii, Allocator state,
                 Allocator scratch, const Execution& execution) {
  const int threads = execution.threads, width = camera.width, height = camera.height;
  const int64_t n = gaussians.count;
  if (n >= (int64_t(1) << 32)) throw std::length_error("more than 2^32 Gaussians");
  T* depth = take<T>(scratch, n);
  const Visible<T> visible = project_all(camera, gaussians, radii, depth, scratch, threads);

  PreparedHeader sizes{};
  sizes.count = n, sizes.num_visible = visible.count;
  sizes.width = width, sizes.height = height;
  sizes.tiles_x = (width + kTile - 1) / kTile, sizes.tiles_y = (height + kTile - 1) / kTile;
  const int64_t tiles = int64_t(sizes.tiles_x) * sizes.tiles_y;
  const TileGrid grid{width, height, sizes.tiles_x, sizes.tiles_y};

  auto* sorted = take<VisibleSplat<T>>(scratch, visible.count);
  auto* span_counts = take<int32_t>(scratch, visible.count);
  auto* counts = take<PairCount>(scratch, visible.count);
  std::vector<Piece> pieces(threads);
  for (int i = 0; i < threads; ++i)
    pieces[i].begin = visible.count * i / threads, pieces[i].end = visible.count * (i + 1) / threads;
  parallel_for(threads, threads,
               [&](int64_t i, int) { count_pairs(grid, visible, sorted, counts, span_counts, pieces[i]); });
  // Scatters counts from depth order to Gaussian order. Each thread reads all and writes one part, because threads that
  // write everywhere would contend for cache lines.
  auto* pairs_of = take<uint32_t>(scratch, n);
  constexpr size_t kApart = 16;  // elements per cache line
  std::vector<uint32_t> unused(threads * kApart);
  std::vector<int64_t> before(threads + 1);  // pairs of the Gaussians before each part
  parallel_for(threads, threads, [&](int64_t part, int) {
    const uint32_t begin = uint32_t(n * part / threads), length = uint32_t(n * (part + 1) / threads) - begin;
    std::fill_n(pairs_of + begin, length, 0u);
    for (int64_t i = 0; i < visible.count; ++i) {  // branchless: the branch would be unpredictable
      const bool mine = counts[i].gaussian - begin < length;
      *(mine ? pairs_of + counts[i].gaussian : &unused[part * kApart]) = counts[i].pairs;
    }
    before[part + 1] = std::accumulate(pairs_of + begin, pairs_of + begin + length, int64_t(0));
  });
  std::partial_sum(before.begin(), before.end(), before.begin());
  sizes.num_pairs = before[threads];
  if (sizes.num_pairs >= (int64_t(1) << 32))
    throw std::length_error("the view has " + std::to_string(sizes.num_pairs) +
                            " (Gaussian, tile) pairs; the CPU backend holds 2^32");

  PreparedView<T> view;
  const size_t bytes = view.place(nullptr, sizes, false);
  char* memory = take<char>(state, int64_t(bytes));
  view.place(memory, sizes, true);
  *view.header = sizes;
  scan_tiles(grid, pieces, view.tile_begin);
  order_tiles(view, tiles);
  parallel_for(threads, threads, [&](int64_t part, int) {
    const int64_t begin = n * part / threads, end = n * (part + 1) / threads;
    std::copy(depth + begin, depth + end, view.depth + begin);
    uint32_t next = uint32_t(before[part]);
    for (int64_t i = begin; i < end; ++i) {
      view.pair_begin[i] = next;
      next += pairs_of[i];
    }
  });
  view.pair_begin[n] = uint32_t(sizes.num_pairs);
  parallel_for(threads, threads, [&](int64_t i, int) {
    Piece& piece = pieces[i];
    view_kernels<T>().place(grid, piece.begin, piece.end, sorted, span_counts, piece.spans.get(), piece.tiles.data(),
                            view.pairs, view.pair_begin, view.pair_place);
  });
  return {memory, int64_t(bytes), sizes.num_visible, sizes.num_pairs};
}

template Prepared prepare(const Camera<float>&, const Gaussians<float>&, int32_t*, Allocator, Allocator,
                          const Execution&);
template Prepared prepare(const Camera<double>&, const Gaussians<double>&, int32_t*, Allocator, Allocator,
                          const Execution&);

}  // namespace gaussian::cpu
