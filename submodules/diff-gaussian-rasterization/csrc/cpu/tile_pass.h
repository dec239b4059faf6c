// One tile on its way through the kernels: its visits, the features of a batch, and the pixels of the images.
#pragma once

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "prepared_view.h"
#include "tile_kernels.h"

namespace gaussian::cpu {

// Where a tile lies in the image.
struct TileArea {
  int x, y;           // first pixel
  int columns, rows;  // inside the image, at most 16
  int64_t pixel(int width) const { return int64_t(y) * width + x; }
  // Blocks with at least one pixel inside the image.
  uint32_t blocks() const {
    uint32_t bits = 0;
    for (int k = 0; k < kBlocks; ++k)
      if (4 * (k % 4) < columns && 2 * (k / 4) < rows) bits |= 1u << k;
    return bits;
  }
};

inline TileArea tile_area(const PreparedHeader& header, uint32_t tile) {
  constexpr int kSide = 16;
  const int x = int(tile % header.tiles_x) * kSide, y = int(tile / header.tiles_x) * kSide;
  return {x, y, std::min(kSide, header.width - x), std::min(kSide, header.height - y)};
}

// Calls copy(block_pixel, image_offset, pixels) for each run of up to 4 pixels inside the image.
template <class Copy>
void for_each_run(const TileArea& area, int width, Copy&& copy) {
  for (int row = 0; row < area.rows; ++row)
    for (int column = 0; column < area.columns; column += 4) {
      const int block = 4 * (row / 2) + column / 4;
      copy(kLanes * block + 4 * (row % 2), int64_t(row) * width + column, std::min(4, area.columns - column));
    }
}

// All visits of one tile, batch after batch.
template <class T>
class TileVisits {
 public:
  TileState<T> state;
  Buffer<T> products;  // [visits, 8], for the backward pass

  int batches() const { return int(batches_.size()); }
  int64_t size() const { return size_; }
  int64_t offset(int batch) const { return batches_[batch].offset; }
  const Pair<T>* pairs(int batch) const { return batches_[batch].pairs; }
  int pair_count(int batch) const { return batches_[batch].count; }
  Visits<T> visits(int batch) {
    Visits<T> out = batches_[batch].visits;
    out.index = index_.get() + batches_[batch].offset;
    out.weight = weight_.get() + kLanes * batches_[batch].offset;
    out.alpha = keep_alpha_ ? alpha_.get() + kLanes * batches_[batch].offset : nullptr;
    return out;
  }

  void evaluate(const TileKernels<T>& kernels, const Pair<T>* pairs, int64_t count, const TileArea& area,
                bool keep_alpha) {
    keep_alpha_ = keep_alpha;
    size_ = 0;
    batches_.clear();
    std::fill_n(state.running, kTilePixels, T(1));
    std::fill_n(state.transmittance, kTilePixels, T(1));
    state.alive = area.blocks();
    state.evaluated = 0;
    for (int64_t begin = 0; begin < count && state.alive; begin += kBatch) {
      const int length = int(std::min<int64_t>(kBatch, count - begin));
      const size_t most = size_t(size_ + kMostVisits);
      index_.reserve(most, size_);
      weight_.reserve(kLanes * most, kLanes * size_);
      if (keep_alpha) alpha_.reserve(kLanes * most, kLanes * size_);
      batches_.push_back({pairs + begin, length, size_, {}});
      Visits<T> found = visits(batches() - 1);
      kernels.evaluate(pairs + begin, length, state, found);
      batches_.back().visits = found;
      size_ += found.size;
    }
  }

 private:
  struct Batch {
    const Pair<T>* pairs;
    int count;
    int64_t offset;  // first visit
    Visits<T> visits;
  };
  std::vector<Batch> batches_;
  Buffer<uint8_t> index_;
  Buffer<T> weight_, alpha_;
  int64_t size_ = 0;
  bool keep_alpha_ = false;
};

// The channels of a pass: columns of the caller's features, then camera depth when it is blended too.
template <class T>
struct Channels {
  const T* features;  // [n, width]
  int64_t width;
  const T* depth;  // [n] or null
  int64_t count() const { return width + (depth ? 1 : 0); }

  // Copies channels [first, first + count) of a batch into rows of `count`.
  void gather(const Pair<T>* pairs, int length, int64_t first, int count, T* out) const {
    constexpr int kAhead = 16;
    const int from_features = int(std::min<int64_t>(count, width - first));
    for (int i = 0; i < length; ++i, out += count) {
      if (i + kAhead < length && from_features > 0) {  // a row usually spans two cache lines
        const T* ahead = features + pairs[i + kAhead].gaussian * width + first;
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + from_features - 1);
      }
      const T* row = features + pairs[i].gaussian * width + first;
      for (int c = 0; c < from_features; ++c) out[c] = row[c];
      if (from_features < count) out[from_features] = depth[pairs[i].gaussian];
    }
  }
};

}  // namespace gaussian::cpu
