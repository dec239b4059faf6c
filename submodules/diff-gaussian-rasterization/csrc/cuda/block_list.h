// The splats that reach one 8x4 block of pixels, for the warp of that block.
//
// A tile's list is read 32 pairs at a time; a ballot over the pairs' block masks keeps those that reach the block, and
// a queue in shared memory collects them into full batches. Warps do not synchronise with each other.
#pragma once

#include "state.h"

namespace gaussian::cuda {

constexpr int kWarpsPerGroup = 4;  // warps of a CUDA thread block: half a tile
constexpr int kGroupThreads = kWarpsPerGroup * kWarp;
constexpr int kGroupsPerTile = kBlocksPerTile / kWarpsPerGroup;

// The pixel of a thread. Grid: x = groups of all tiles, y = chunks of channels.
struct Pixel {
  int tile, block;  // tile of the image, block of the tile
  int lane;
  int block_x, block_y;  // first pixel of the block
  int x, y;
  bool inside;    // of the image
  float dx, dy;   // offset of its centre from the centre of the block
  int64_t index;  // within one channel of the image

  // Each warp of the thread block has different pixels.
  __device__ Pixel(const State& state, int width, int height)
      : Pixel(state, width, height,
              static_cast<int>(blockIdx.x) * kWarpsPerGroup + static_cast<int>(threadIdx.x) / kWarp) {}

  // `index_of_block` numbers the blocks of all tiles.
  __device__ Pixel(const State& state, int width, int height, int index_of_block) {
    tile = index_of_block / kBlocksPerTile;
    block = index_of_block % kBlocksPerTile;
    lane = static_cast<int>(threadIdx.x) % kWarp;
    constexpr int across = kTile / kBlockWidth;
    block_x = tile % state.tiles_x * kTile + block % across * kBlockWidth;
    block_y = tile / state.tiles_x * kTile + block / across * kBlockHeight;
    x = block_x + lane % kBlockWidth;
    y = block_y + lane / kBlockWidth;
    inside = x < width && y < height;
    dx = lane % kBlockWidth + 0.5f - 0.5f * kBlockWidth;
    dy = lane / kBlockWidth + 0.5f - 0.5f * kBlockHeight;
    index = static_cast<int64_t>(y) * width + x;
  }
};

// A splat relative to the centre of one block. Offsets from the block's centre are small and therefore more accurate
// than offsets from a distant mean.
struct alignas(16) BlockSplat {
  float t1, ux, uy, t2;  // t1 and t2 at the centre of the block
  float vy, log2_opacity, depth;
  uint32_t position;  // in the tile's list
};

struct BlockQueue {
  uint32_t positions[2 * kWarp];  // in the tile's list
};

template <bool kBackToFront>
class BlockList {
 public:
  struct Entry {
    BlockSplat splat;
    uint32_t rank;      // in State::splats
    uint32_t gaussian;  // in the caller's arrays
  };

  // Lists the first `length` pairs of the tile.
  __device__ BlockList(const State& state, const Pixel& pixel, uint32_t length, BlockQueue& queue)
      : ranks_(state.ranks + state.tile_starts[pixel.tile]),
        masks_(state.block_masks + state.tile_starts[pixel.tile]),
        splats_(state.splats),
        bit_(pixel.block),
        lane_(pixel.lane),
        center_x_(pixel.block_x + 0.5f * kBlockWidth),
        center_y_(pixel.block_y + 0.5f * kBlockHeight),
        length_(length),
        queue_(queue) {
    if (kBackToFront || !state.block_starts) return;
    const int64_t block = static_cast<int64_t>(pixel.tile) * kBlocksPerTile + pixel.block;
    kept_ = state.block_positions + state.block_starts[block];
    length_ = static_cast<uint32_t>(state.block_starts[block + 1] - state.block_starts[block]);
  }

  // Fetches the next batch: lane i gets the i-th splat. Returns the batch size, the same in all lanes; 0 at the end.
  __device__ int fetch(Entry& entry) {
    uint32_t position = 0;
    const int count = !kBackToFront && kept_ ? next_kept(position) : next_filtered(position);
    if (lane_ < count) {
      entry.rank = ranks_[position];
      const DeviceSplat s = splats_[entry.rank];
      const float x = center_x_ - s.x, y = center_y_ - s.y;
      entry.splat = {s.ux * x + s.uy * y, s.ux, s.uy, s.vy * y, s.vy, s.log2_opacity, s.depth, position};
      entry.gaussian = s.gaussian;
    }
    return count;
  }

 private:
  __device__ __forceinline__ int next_kept(uint32_t& position) {
    const uint32_t count = min(length_ - read_, static_cast<uint32_t>(kWarp));
    if (lane_ < static_cast<int>(count)) position = kept_[read_ + lane_];
    read_ += count;
    return static_cast<int>(count);
  }

  __device__ __forceinline__ int next_filtered(uint32_t& position) {
    while (queued_ < kWarp && read_ < length_) {
      const uint32_t offset = read_ + lane_;
      const uint32_t candidate = kBackToFront ? length_ - 1 - offset : offset;
      const bool hit = offset < length_ && (masks_[candidate] >> bit_ & 1u);
      const unsigned hits = __ballot_sync(kFullWarp, hit);
      if (hit) queue_.positions[queued_ + __popc(hits & ((1u << lane_) - 1))] = candidate;
      queued_ += __popc(hits);
      read_ += kWarp;
    }
    __syncwarp();
    const int count = min(queued_, kWarp);
    const bool held = lane_ + kWarp < queued_;
    position = lane_ < count ? queue_.positions[lane_] : 0;
    const uint32_t next = held ? queue_.positions[lane_ + kWarp] : 0;
    __syncwarp();
    if (held) queue_.positions[lane_] = next;
    queued_ -= count;
    return count;
  }

  const uint32_t* ranks_;
  const uint8_t* masks_;
  const DeviceSplat* splats_;
  int bit_, lane_;
  float center_x_, center_y_;
  const uint32_t* kept_ = nullptr;
  uint32_t length_;
  BlockQueue& queue_;
  uint32_t read_ = 0;
  int queued_ = 0;
};

// Number of pairs of a tile: below 2^31, since a tile lists a splat once.
__device__ __forceinline__ uint32_t tile_length(const State& state, int tile) {
  return static_cast<uint32_t>(state.tile_starts[tile + 1] - state.tile_starts[tile]);
}

}  // namespace gaussian::cuda
