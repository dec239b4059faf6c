// Device memory of a prepared view.
//
// The image is cut into tiles of 16x16 pixels, each tile into eight blocks of 8x4 pixels, one per warp. A pair is a
// (tile, splat) that overlap. The pairs of a tile are contiguous, front to back.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "../gaussian_math.h"

namespace gaussian::cuda {

constexpr int kWarp = 32;
constexpr int kBlockWidth = 8, kBlockHeight = 4;  // pixels of one warp
constexpr int kBlocksPerTile = kTile / kBlockWidth * (kTile / kBlockHeight);
constexpr unsigned kFullWarp = 0xffffffffu;

// A splat in the layout for blending: two 16-byte loads.
struct alignas(16) DeviceSplat {
  float x, y, ux, uy;
  float vy, log2_opacity, depth;
  uint32_t gaussian;  // row in the caller's arrays
};

__device__ __forceinline__ Splat<float> splat_of(const DeviceSplat& s) {
  return {s.x, s.y, s.ux, s.uy, s.vy, s.log2_opacity};
}

struct State {
  DeviceSplat* splats;   // [num_visible] front to back
  uint32_t* ranks;       // [num_pairs] index into splats
  int64_t* tile_starts;  // [tiles + 1] first pair of each tile
  float* transmittance;  // [H, W] transmittance behind the last splat; written when alpha is blended
  uint32_t* last;        // [H, W] number of the tile's pairs before the pixel terminated; written likewise
  uint8_t* block_masks;  // [num_pairs] bit b: the splat reaches block b of the tile
  int64_t bytes;
  int tiles_x, tiles_y;
  // Kept lists, or null: the pairs of block b of tile t, as positions in the tile's list, start at
  // block_starts[8 t + b].
  const int64_t* block_starts;      // [8 tiles + 1]
  const uint32_t* block_positions;  // [block_starts[8 tiles]]
};

inline int64_t block_count(const State& state) {
  return static_cast<int64_t>(state.tiles_x) * state.tiles_y * kBlocksPerTile;
}

// The layout of the state memory; if `data` is null only `bytes` is valid.
inline State state_layout(void* data, int width, int height, int64_t num_visible, int64_t num_pairs) {
  State state = {};
  state.tiles_x = (width + kTile - 1) / kTile;
  state.tiles_y = (height + kTile - 1) / kTile;
  const int64_t pixels = static_cast<int64_t>(width) * height;
  char* const base = static_cast<char*>(data);
  const auto place = [&](auto*& pointer, int64_t count) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(base + state.bytes);
    state.bytes += (count * static_cast<int64_t>(sizeof(*pointer)) + 63) / 64 * 64;
  };
  place(state.splats, num_visible);
  place(state.ranks, num_pairs);
  place(state.tile_starts, static_cast<int64_t>(state.tiles_x) * state.tiles_y + 1);
  place(state.transmittance, pixels);
  place(state.last, pixels);
  place(state.block_masks, num_pairs);
  return state;
}

inline State state_of(const Prepared& prepared, int width, int height) {
  State state = state_layout(prepared.data, width, height, prepared.num_visible, prepared.num_pairs);
  if (prepared.weights) {
    state.block_starts = static_cast<const int64_t*>(prepared.weights);
    state.block_positions = reinterpret_cast<const uint32_t*>(state.block_starts + block_count(state) + 1);
  }
  return state;
}

}  // namespace gaussian::cuda
