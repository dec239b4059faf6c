// Projection, depth order and tile lists of a view.
#include <cub/cub.cuh>

#include "../backend.h"
#include "../projection.h"
#include "device.h"
#include "tiling.h"

namespace gaussian::cuda {
namespace {

constexpr int64_t kFewTiles = 12;  // a splat on more tiles is written by a whole warp

struct Counters {
  unsigned long long visible;
  unsigned long long pairs;
  unsigned long long nonfinite;  // Gaussians with a NaN or an infinity among their parameters
};

// Keys: depth in the high bits, Gaussian index in the low bits; equal depths are ordered by index.
constexpr uint64_t kCulledKey = ~uint64_t{0};
constexpr int kDepthBit = 32;

struct IsVisible {
  __device__ bool operator()(uint64_t key) const { return key != kCulledKey; }
};

__device__ bool all_finite(const float* values, int count) {
  bool result = true;
  for (int i = 0; i < count; ++i) result = result && finite(values[i]);
  return result;
}

__device__ bool parameters_finite(const Gaussians<float>& g, int64_t i) {
  const bool shape = g.covariances ? all_finite(g.covariances + 6 * i, 6)
                                   : all_finite(g.scales + 3 * i, 3) && all_finite(g.rotations + 4 * i, 4);
  return shape && all_finite(g.means + 3 * i, 3) && finite(g.opacities[i]);
}

__device__ uint32_t count_tiles(const Splat<float>& splat, const Extent<float>& extent, int tiles_x, int tiles_y) {
  const Span rows = tile_rows(splat, extent, tiles_y);
  uint32_t count = 0;
  for (int row = rows.first; row <= rows.last; ++row) {
    const Span columns = tile_columns(splat, extent, row, tiles_x);
    count += static_cast<uint32_t>(max(columns.last - columns.first + 1, 0));
  }
  return count;
}

// Sum over the thread block, in thread 0.
__device__ unsigned long long block_sum(uint32_t value) {
  __shared__ unsigned long long sums[kThreads / kWarp];
  unsigned long long sum = value;
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kFullWarp, sum, step);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int warp = 1; warp < kThreads / kWarp; ++warp) sum += sums[warp];
  return sum;
}

__global__ void __launch_bounds__(kThreads)
    project_kernel(Camera<float> camera, Gaussians<float> gaussians, int tiles_x, int tiles_y, int32_t* radii,
                   DeviceSplat* splats, uint32_t* tile_counts, uint64_t* keys, Counters* counters) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  bool visible = false, bad = false;
  uint32_t tiles = 0;
  if (i < gaussians.count) {
    Projection<float> projection;
    bad = !parameters_finite(gaussians, i);
    visible = !bad && project(camera, gaussians, i, projection);
    radii[i] = visible ? projection.radius : 0;
    keys[i] = kCulledKey;
    if (visible) {
      const Splat<float>& s = projection.splat;
      splats[i] = {s.x, s.y, s.ux, s.uy, s.vy, s.log2_opacity, projection.camera[2], static_cast<uint32_t>(i)};
      tiles = count_tiles(s, extent(s), tiles_x, tiles_y);
      tile_counts[i] = tiles;
      const uint64_t depth = __float_as_uint(projection.camera[2]);  // positive floats order like their bits
      keys[i] = depth << kDepthBit | static_cast<uint64_t>(i);
    }
  }
  const int num_visible = __syncthreads_count(visible), num_bad = __syncthreads_count(bad);
  const unsigned long long num_pairs = block_sum(tiles);
  if (threadIdx.x != 0) return;
  if (num_visible > 0) atomicAdd(&counters->visible, static_cast<unsigned long long>(num_visible));
  if (num_pairs > 0) atomicAdd(&counters->pairs, num_pairs);
  if (num_bad > 0) atomicAdd(&counters->nonfinite, static_cast<unsigned long long>(num_bad));
}

// Writes splats and their tile counts in depth order.
__global__ void __launch_bounds__(kThreads)
    order_splats_kernel(int64_t num_visible, const uint64_t* keys, const DeviceSplat* splats,
                        const uint32_t* tile_counts, DeviceSplat* ordered, int64_t* ordered_counts) {
  const int64_t rank = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (rank >= num_visible) return;
  const uint32_t gaussian = static_cast<uint32_t>(keys[rank]);
  ordered[rank] = splats[gaussian];
  ordered_counts[rank] = tile_counts[gaussian];
}

// Output range of a splat's pairs. Counting and writing are compiled separately and may round differently at a tile
// edge: writing stays within the counted range and fills the rest with `no_tile`, which is after the last tile and in
// no list.
struct PairRoom {
  uint32_t* tiles;
  uint32_t* ranks;
  int64_t begin, end;
  uint32_t no_tile;

  __device__ void write(int64_t slot, uint32_t tile, int64_t rank) const {
    if (slot >= end) return;
    tiles[slot] = tile;
    ranks[slot] = static_cast<uint32_t>(rank);
  }
};

__device__ void write_pairs_alone(const DeviceSplat& s, int64_t rank, const PairRoom& room, int tiles_x, int tiles_y) {
  const Splat<float> splat = splat_of(s);
  const Extent<float> reach = extent(splat);
  const Span rows = tile_rows(splat, reach, tiles_y);
  int64_t slot = room.begin;
  for (int row = rows.first; row <= rows.last; ++row) {
    const Span columns = tile_columns(splat, reach, row, tiles_x);
    for (int column = columns.first; column <= columns.last; ++column)
      room.write(slot++, static_cast<uint32_t>(row * tiles_x + column), rank);
  }
  for (; slot < room.end; ++slot) room.write(slot, room.no_tile, rank);
}

// The same by a whole warp; each lane writes one row of tiles.
__device__ void write_pairs_together(const DeviceSplat& s, int64_t rank, const PairRoom& room, int tiles_x, int tiles_y,
                                     int lane) {
  const Splat<float> splat = splat_of(s);
  const Extent<float> reach = extent(splat);
  const Span rows = tile_rows(splat, reach, tiles_y);
  int64_t slot = room.begin;
  for (int first = rows.first; first <= rows.last; first += kWarp) {
    const int row = first + lane;
    const Span columns = row <= rows.last ? tile_columns(splat, reach, row, tiles_x) : Span{0, -1};
    const int width = max(columns.last - columns.first + 1, 0);
    int through = width;  // inclusive sum over the lanes
    for (int step = 1; step < kWarp; step *= 2) {
      const int other = __shfl_up_sync(kFullWarp, through, step);
      if (lane >= step) through += other;
    }
    for (int i = 0; i < width; ++i)
      room.write(slot + through - width + i, static_cast<uint32_t>(row * tiles_x + columns.first + i), rank);
    slot += __shfl_sync(kFullWarp, through, kWarp - 1);
  }
  for (slot += lane; slot < room.end; slot += kWarp) room.write(slot, room.no_tile, rank);
}

__global__ void __launch_bounds__(kThreads)
    write_pairs_kernel(int64_t num_visible, const DeviceSplat* splats, const int64_t* pair_ends, int tiles_x,
                       int tiles_y, uint32_t* tiles, uint32_t* ranks) {
  const int64_t rank = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int lane = threadIdx.x % kWarp;
  PairRoom room = {tiles, ranks, 0, 0, static_cast<uint32_t>(tiles_x * tiles_y)};
  if (rank < num_visible) {
    room.begin = rank > 0 ? pair_ends[rank - 1] : 0;
    room.end = pair_ends[rank];
  }
  const bool many = room.end - room.begin > kFewTiles;
  if (!many && room.end > room.begin) write_pairs_alone(splats[rank], rank, room, tiles_x, tiles_y);
  for (unsigned pending = __ballot_sync(kFullWarp, many); pending != 0; pending &= pending - 1) {
    const int source = __ffs(static_cast<int>(pending)) - 1;
    const int64_t shared_rank = rank - lane + source;
    room.begin = shared_rank > 0 ? pair_ends[shared_rank - 1] : 0;
    room.end = pair_ends[shared_rank];
    write_pairs_together(splats[shared_rank], shared_rank, room, tiles_x, tiles_y, lane);
  }
}

__global__ void __launch_bounds__(kThreads) mask_blocks_kernel(State state, int64_t num_pairs, const uint32_t* tiles) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pair >= num_pairs) return;
  const int tile = static_cast<int>(tiles[pair]);
  const Splat<float> splat = splat_of(state.splats[state.ranks[pair]]);
  const int x = tile % state.tiles_x * kTile, y = tile / state.tiles_x * kTile;
  state.block_masks[pair] = static_cast<uint8_t>(block_mask(splat, extent(splat), x, y));
}

// tile_starts[t] = number of pairs on tiles before t.
__global__ void __launch_bounds__(kThreads) find_tiles_kernel(State state, int64_t num_pairs, const uint32_t* tiles) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (tile > static_cast<int64_t>(state.tiles_x) * state.tiles_y) return;
  int64_t low = 0, high = num_pairs;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (tiles[middle] < tile) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  state.tile_starts[tile] = low;
}

// The keys of visible Gaussians, by depth. `compacted` and `sorted` hold `num_visible` keys.
void sort_visible(int64_t count, int64_t num_visible, const uint64_t* keys, uint64_t* compacted, uint64_t* sorted,
                  const Allocator& scratch, cudaStream_t stream) {
  int* selected = allocate<int>(scratch, 1);
  with_storage("the selection of visible Gaussians", scratch, [&](void* storage, size_t& bytes) {
    return cub::DeviceSelect::If(storage, bytes, keys, compacted, selected, static_cast<int>(count), IsVisible(),
                                 stream);
  });
  with_storage("the sort by depth", scratch, [&](void* storage, size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(storage, bytes, compacted, sorted, static_cast<int>(num_visible), kDepthBit,
                                          64, stream);
  });
}

// Stable sort by the low bits of the keys.
void sort_pairs(int64_t count, const uint32_t* keys, uint32_t* keys_out, const uint32_t* values, uint32_t* values_out,
                int bits, const Allocator& scratch, cudaStream_t stream) {
  with_storage("the sort by tile", scratch, [&](void* storage, size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(storage, bytes, keys, keys_out, values, values_out, count, 0, bits, stream);
  });
}

void inclusive_sum(int64_t count, const int64_t* in, int64_t* out, const Allocator& scratch, cudaStream_t stream) {
  with_storage("the sum of pairs", scratch, [&](void* storage, size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(storage, bytes, in, out, static_cast<int>(count), stream);
  });
}

int bits_of(int64_t largest) {
  int bits = 1;
  while (largest >> bits) ++bits;
  return bits;
}

}  // namespace

Prepared prepare(const Camera<float>& camera, const Gaussians<float>& gaussians, int32_t* radii, Allocator state_memory,
                 Allocator scratch, const Execution& execution) {
  const DeviceGuard guard(execution);
  const cudaStream_t stream = stream_of(execution);
  const int64_t n = gaussians.count;
  if (n >= int64_t{1} << 31) throw std::invalid_argument("at most 2^31 - 1 Gaussians fit the CUDA backend");
  const State size = state_layout(nullptr, camera.width, camera.height, 0, 0);
  const int64_t tiles = static_cast<int64_t>(size.tiles_x) * size.tiles_y;
  if (tiles >= int64_t{1} << 31) throw std::invalid_argument("the image has too many tiles for the CUDA backend");

  Counters counters = {};
  DeviceSplat* splats = nullptr;
  uint32_t* tile_counts = nullptr;
  uint64_t* keys = nullptr;
  if (n > 0) {
    refuse_capture(stream, "projection");
    Counters* device_counters = allocate<Counters>(scratch, 1);
    clear(device_counters, sizeof(Counters), stream);
    splats = allocate<DeviceSplat>(scratch, n);
    tile_counts = allocate<uint32_t>(scratch, n);
    keys = allocate<uint64_t>(scratch, n);
    launch("project_kernel", project_kernel, blocks_for(n), kThreads, stream, camera, gaussians, size.tiles_x,
           size.tiles_y, radii, splats, tile_counts, keys, device_counters);
    // The only synchronisation: the caller's allocator needs the sizes.
    counters = read_from_device(device_counters, stream);
    if (counters.nonfinite > 0)
      throw std::domain_error(std::to_string(counters.nonfinite) + " Gaussians have a NaN or infinite parameter");
  }

  const int64_t num_visible = static_cast<int64_t>(counters.visible), num_pairs = static_cast<int64_t>(counters.pairs);
  const int64_t bytes = state_layout(nullptr, camera.width, camera.height, num_visible, num_pairs).bytes;
  const Prepared prepared = {allocate<char>(state_memory, bytes), bytes, num_visible, num_pairs};
  const State state = state_of(prepared, camera.width, camera.height);
  uint32_t* sorted_tiles = nullptr;
  if (num_pairs > 0) {
    uint64_t* sorted_keys = allocate<uint64_t>(scratch, num_visible);
    sort_visible(n, num_visible, keys, allocate<uint64_t>(scratch, num_visible), sorted_keys, scratch, stream);
    int64_t* counts = allocate<int64_t>(scratch, num_visible);
    launch("order_splats_kernel", order_splats_kernel, blocks_for(num_visible), kThreads, stream, num_visible,
           sorted_keys, splats, tile_counts, state.splats, counts);
    int64_t* pair_ends = allocate<int64_t>(scratch, num_visible);
    inclusive_sum(num_visible, counts, pair_ends, scratch, stream);
    uint32_t* pair_tiles = allocate<uint32_t>(scratch, num_pairs);
    uint32_t* pair_ranks = allocate<uint32_t>(scratch, num_pairs);
    sorted_tiles = allocate<uint32_t>(scratch, num_pairs);
    launch("write_pairs_kernel", write_pairs_kernel, blocks_for(num_visible), kThreads, stream, num_visible,
           state.splats, pair_ends, size.tiles_x, size.tiles_y, pair_tiles, pair_ranks);
    sort_pairs(num_pairs, pair_tiles, sorted_tiles, pair_ranks, state.ranks, bits_of(tiles), scratch, stream);
    launch("mask_blocks_kernel", mask_blocks_kernel, blocks_for(num_pairs), kThreads, stream, state, num_pairs,
           sorted_tiles);
  }
  launch("find_tiles_kernel", find_tiles_kernel, blocks_for(tiles + 1), kThreads, stream, state, num_pairs,
         sorted_tiles);
  return prepared;
}

}  // namespace gaussian::cuda
