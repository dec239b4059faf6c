// One tile on its way through the kernels: its visits, the features of a batch, and the pixels of the images.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
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

// Calls copy(block_pixel, image_offset, pixels) for each run of up to 4 pixels inside the image. Whole runs say so by
// their type, so that the copy is one instruction.
template <class Copy>
void for_each_run(const TileArea& area, int width, Copy&& copy) {
  using Whole = std::integral_constant<int, 4>;
  for (int row = 0; row < area.rows; ++row)
    for (int column = 0; column < area.columns; column += 4) {
      const int pixel = kLanes * (4 * (row / 2) + column / 4) + 4 * (row % 2);
      const int64_t offset = int64_t(row) * width + column;
      if (area.columns - column >= 4)
        copy(pixel, offset, Whole{});
      else
        copy(pixel, offset, area.columns - column);
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

  // Copies channels [first, first + count), at most kForwardChannels, of a batch into rows of `count`.
  void gather(const Pair<T>* pairs, int length, int64_t first, int count, T* out) const {
    const int from_features = int(std::min<int64_t>(count, width - first));
    if (from_features > 0) gather_features(pairs, length, first, from_features, count, out);
    if (from_features == count) return;
    for (int i = 0; i < length; ++i) {
      if (i + kAhead < length) __builtin_prefetch(depth + pairs[i + kAhead].gaussian);
      out[int64_t(i) * count + from_features] = depth[pairs[i].gaussian];
    }
  }

 private:
  static constexpr int kAhead = 16;

  void gather_features(const Pair<T>* pairs, int length, int64_t first, int columns, int stride, T* out) const {
    switch (columns) {  // rows of a known length are copied without a loop
#define CASE(C) \
  case C:       \
    return gather_columns<C>(pairs, length, features + first, stride, out);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#undef CASE
    }
    static_assert(kForwardChannels == 12);
  }
  template <int C>
  void gather_columns(const Pair<T>* pairs, int length, const T* from, int stride, T* out) const {
    for (int i = 0; i < length; ++i, out += stride) {
      if (i + kAhead < length) {  // a row may span two cache lines
        const T* ahead = from + pairs[i + kAhead].gaussian * width;
        __builtin_prefetch(ahead);
        if (C > 1) __builtin_prefetch(ahead + C - 1);
      }
      std::memcpy(out, from + pairs[i].gaussian * width, C * sizeof(T));
    }
  }
};

}  // namespace gaussian::cpu
