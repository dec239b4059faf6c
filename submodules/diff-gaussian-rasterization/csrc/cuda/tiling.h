// Which tiles and which 8x4 blocks a splat reaches: tests the exact ellipse alpha >= 1/255 against rectangles of
// pixel centres.
#pragma once

#include "state.h"

namespace gaussian::cuda {

struct Span {
  int first, last;  // inclusive; empty when last < first
};

// Indices i in [0, count) whose hull of pixel centres [i * size + 0.5, i * size + size - 0.5] meets [low, high].
GAUSSIAN_FN Span cells_between(float low, float high, float size, int count) {
  const float bound = static_cast<float>(count);  // clamped before the conversion: an int cannot hold every float
  const float first = std::ceil((low - size + 0.5f) / size), last = std::floor((high - 0.5f) / size);
  return {static_cast<int>(clamped(first, 0.f, bound)), static_cast<int>(clamped(last, -1.f, bound - 1.f))};
}

GAUSSIAN_FN Span tile_rows(const Splat<float>& splat, const Extent<float>& extent, int tiles_y) {
  return cells_between(splat.y - extent.half_height, splat.y + extent.half_height, kTile, tiles_y);
}

// Tiles of one row of tiles that the splat reaches.
GAUSSIAN_FN Span tile_columns(const Splat<float>& splat, const Extent<float>& extent, int row, int tiles_x) {
  const float top = row * kTile + 0.5f - splat.y;
  float left, right;
  if (!band_span(splat, extent, top, top + (kTile - 1), left, right)) return {0, -1};
  return cells_between(splat.x + left, splat.x + right, kTile, tiles_x);
}

// Bit 2 * band + half for the eight blocks of the tile whose first pixel is (x, y).
GAUSSIAN_FN unsigned block_mask(const Splat<float>& splat, const Extent<float>& extent, int x, int y) {
  constexpr int halves = kTile / kBlockWidth;
  unsigned mask = 0;
  for (int band = 0; band < kTile / kBlockHeight; ++band) {
    const float top = y + band * kBlockHeight + 0.5f - splat.y;
    float left, right;
    if (!band_span(splat, extent, top, top + (kBlockHeight - 1), left, right)) continue;
    for (int half = 0; half < halves; ++half) {
      const float from = x + half * kBlockWidth + 0.5f - splat.x;
      if (left <= from + (kBlockWidth - 1) && right >= from) mask |= 1u << (band * halves + half);
    }
  }
  return mask;
}

}  // namespace gaussian::cuda
