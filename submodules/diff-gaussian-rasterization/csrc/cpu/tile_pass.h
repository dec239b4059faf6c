// The state of one tile in a pass: its visits, the features of a batch, and the pixels of the images.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "parallel.h"
#include "prepared_view.h"
#include "tile_kernels.h"

namespace gaussian::cpu {

// Position and size of a tile in the image.
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

// Calls copy(block_pixel, image_offset, pixels) for each run of up to 4 pixels inside the image. For full runs
// `pixels` is a compile-time constant, so that the copy is one instruction.
template <class Copy>
void for_each_run(const TileArea& area, int width, Copy&& copy) {
  using Whole = std::integral_constant<int, 4>;
  for (int row = 0; row < area.rows; ++row) {
    const int pixel = 4 * kLanes * (row / 2) + 4 * (row % 2);
    const int64_t offset = int64_t(row) * width;
    const int whole = area.columns / 4, rest = area.columns % 4;
    for (int k = 0; k < whole; ++k) copy(pixel + kLanes * k, offset + 4 * k, Whole{});
    if (rest) copy(pixel + kLanes * whole, offset + 4 * whole, rest);
  }
}

// to[i] = value(i) for a run. All values are computed first, so that the compiler need not assume aliasing with `to`.
template <class T, class Length, class Value>
void write_run(T* to, Length length, Value&& value) {
  T values[4];
  for (int i = 0; i < length; ++i) values[i] = value(i);
  std::memcpy(to, values, size_t(length) * sizeof(T));
}

// Weights kept between passes (see keep_weights): a table of tile offsets, then the tiles. A tile is a KeptTile
// and, for each batch, a KeptBatch, the weights of its visits (float or 16 bits) and their indices; each is aligned to
// 64 bytes.
struct KeptTile {
  alignas(64) float transmittance[kTilePixels];
  int64_t visits;
  int32_t batches;
};
struct KeptBatch {
  alignas(64) int32_t begin[kBlocks + 1];  // visits of block k: begin[k] to begin[k + 1]
  int32_t pairs;
};

inline size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// All visits of one tile, by batch.
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
    if (restored_) return out;
    out.index = index_.get() + batches_[batch].offset;
    out.weight = weight_.get() + kLanes * batches_[batch].offset;
    out.alpha = keep_alpha_ ? alpha_.get() + kLanes * batches_[batch].offset : nullptr;
    return out;
  }

  void evaluate(const TileKernels<T>& kernels, const Pair<T>* pairs, int64_t count, const TileArea& area,
                bool keep_alpha) {
    keep_alpha_ = keep_alpha;
    restored_ = false;
    size_ = 0;
    batches_.clear();
    std::fill_n(state.running, kTilePixels, T(1));
    std::fill_n(state.transmittance, kTilePixels, T(1));
    state.alive = area.blocks();
    state.evaluated = 0;
    for (int64_t begin = 0; begin < count && state.alive; begin += kBatch) {
      const int length = int(std::min<int64_t>(kBatch, count - begin));
      const size_t room = size_t(size_ + kMaxVisits);
      index_.reserve(room, size_);
      weight_.reserve(kLanes * room, kLanes * size_);
      if (keep_alpha) alpha_.reserve(kLanes * room, kLanes * size_);
      batches_.push_back({pairs + begin, length, size_, {}});
      Visits<T> found = visits(batches() - 1);
      kernels.evaluate(pairs + begin, length, state, found);
      batches_.back().visits = found;
      size_ += found.size;
    }
  }

  // Rounds the evaluated weights to 16 bits.
  void round(const TileKernels<T>& kernels) { kernels.round_weights(weight_.get(), size_); }

  // `keep` writes the evaluated visits, except those of a block after its last pixel has terminated; `kept_bytes` is
  // the size. `half`: 16-bit weights, of visits that have been rounded.
  size_t kept_bytes(bool half) const {
    size_t bytes = sizeof(KeptTile);
    for (const Batch& batch : batches_) {
      size_t live = 0;
      for (int k = 0; k < kBlocks; ++k) live += batch.visits.end[k] - batch.visits.begin[k];
      bytes += sizeof(KeptBatch) + visits_bytes(live, half);
    }
    return bytes;
  }
  void keep(const TileKernels<T>& kernels, bool half, char* to) {
    auto& tile = *reinterpret_cast<KeptTile*>(to);
    std::copy_n(state.transmittance, kTilePixels, tile.transmittance);
    tile.batches = batches();
    tile.visits = 0;
    to += sizeof(KeptTile);
    for (int i = 0; i < batches(); ++i) {
      const Visits<T> from = visits(i);
      auto& batch = *reinterpret_cast<KeptBatch*>(to);
      batch.pairs = pair_count(i);
      batch.begin[0] = 0;
      for (int k = 0; k < kBlocks; ++k) batch.begin[k + 1] = batch.begin[k] + (from.end[k] - from.begin[k]);
      const size_t visits = size_t(batch.begin[kBlocks]);
      char* weights = to + sizeof(KeptBatch);
      auto* index = reinterpret_cast<uint8_t*>(weights + weight_bytes(visits, half));
      for (int k = 0; k < kBlocks; ++k) {
        const T* weight = from.weight + kLanes * from.begin[k];
        const int count = from.end[k] - from.begin[k];
        if (half)
          kernels.pack_weights(weight, count, reinterpret_cast<uint16_t*>(weights) + kLanes * batch.begin[k]);
        else
          std::copy_n(weight, kLanes * count, reinterpret_cast<T*>(weights) + kLanes * batch.begin[k]);
        std::copy(from.index + from.begin[k], from.index + from.end[k], index + batch.begin[k]);
      }
      tile.visits += int64_t(visits);
      to += sizeof(KeptBatch) + visits_bytes(visits, half);
    }
  }
  // Uses the visits stored at `from` instead of evaluating them. The kernels only read them.
  void restore(const TileKernels<T>& kernels, bool half, const char* from, const Pair<T>* pairs) {
    const auto& tile = *reinterpret_cast<const KeptTile*>(from);
    restored_ = true;
    size_ = 0;
    batches_.clear();
    std::copy_n(tile.transmittance, kTilePixels, state.transmittance);
    if (half) weight_.reserve(kLanes * size_t(tile.visits));
    from += sizeof(KeptTile);
    for (int i = 0; i < tile.batches; ++i) {
      const auto& batch = *reinterpret_cast<const KeptBatch*>(from);
      char* weights = const_cast<char*>(from) + sizeof(KeptBatch);
      Visits<T> visits{};
      std::copy_n(batch.begin, kBlocks, visits.begin);
      std::copy_n(batch.begin + 1, kBlocks, visits.end);
      visits.size = batch.begin[kBlocks];
      visits.index = reinterpret_cast<uint8_t*>(weights + weight_bytes(size_t(visits.size), half));
      visits.weight = half ? weight_.get() + kLanes * size_ : reinterpret_cast<T*>(weights);
      if (half) kernels.unpack_weights(reinterpret_cast<const uint16_t*>(weights), visits.size, visits.weight);
      batches_.push_back({pairs, batch.pairs, size_, visits});
      size_ += visits.size;
      pairs += batch.pairs;
      from += sizeof(KeptBatch) + visits_bytes(size_t(visits.size), half);
    }
  }

  // Restores the kept weights of tile `tile` if there are any, else evaluates the tile.
  void restore_or_evaluate(const TileKernels<T>& kernels, const PreparedView<T>& view, const Prepared& prepared,
                           uint32_t tile, const TileArea& area) {
    if constexpr (sizeof(T) == sizeof(float))
      if (const char* memory = static_cast<const char*>(prepared.weights))
        return restore(kernels, prepared.half_weights, memory + reinterpret_cast<const int64_t*>(memory)[tile],
                       view.pairs + view.tile_begin[tile]);
    evaluate(kernels, view, tile, area, false);
    if (prepared.half_weights) round(kernels);
  }
  void evaluate(const TileKernels<T>& kernels, const PreparedView<T>& view, uint32_t tile, const TileArea& area,
                bool keep_alpha) {
    const uint32_t begin = view.tile_begin[tile];
    evaluate(kernels, view.pairs + begin, view.tile_begin[tile + 1] - begin, area, keep_alpha);
  }

 private:
  struct Batch {
    const Pair<T>* pairs;
    int count;
    int64_t offset;  // first visit
    Visits<T> visits;
  };
  static size_t weight_bytes(size_t visits, bool half) {
    return visits * kLanes * (half ? sizeof(uint16_t) : sizeof(T));
  }
  static size_t visits_bytes(size_t visits, bool half) { return aligned(weight_bytes(visits, half) + visits); }

  std::vector<Batch> batches_;
  Buffer<uint8_t> index_;
  Buffer<T> weight_, alpha_;
  int64_t size_ = 0;
  bool keep_alpha_ = false, restored_ = false;
};

// The channels of a pass: columns of the caller's features, then camera depth if requested.
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
    switch (columns) {  // rows of constant length are copied without a loop
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
