// The first half of lifting: blending weights of a tile's pairs, summed over regions of pixels with equal labels.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "tile_pass.h"

namespace gaussian::cpu {

constexpr int32_t kOutside = std::numeric_limits<int32_t>::min();  // a pixel of the tile outside the image

// A positive weight sum of one pair over one region. `region` is a row of the thread's label table.
template <class T>
struct RegionSum {
  uint32_t region;
  T weight;
};

// Location of the sums of a pair, in the results of the thread that processed its tile.
struct PairSums {
  uint32_t begin;
  uint16_t count, thread;
};

// Regions of the current tile, and the results of all tiles this thread has processed.
template <class T>
struct LiftWorkspace {
  TileVisits<T> visits;
  TileRegions<T> regions;
  std::vector<int32_t> tile_labels;  // [L, 256] in block order
  Buffer<T> sums;                    // [pairs of a batch, regions]
  std::vector<int32_t> labels;       // [regions of all tiles, L]
  Buffer<RegionSum<T>> found;
  size_t found_count = 0;
};

// Labels of the tile in block order: negative ones become -1, pixels outside the image kOutside.
template <class T>
void load_labels(const LabelMaps& maps, const PreparedHeader& header, const TileArea& area, LiftWorkspace<T>& work) {
  const int64_t pixels = int64_t(header.width) * header.height;
  work.tile_labels.resize(size_t(maps.levels) * kTilePixels);
  for (int64_t level = 0; level < maps.levels; ++level) {
    const int32_t* from = maps.labels + level * pixels + area.pixel(header.width);
    int32_t* to = work.tile_labels.data() + level * kTilePixels;
    if (area.columns < 16 || area.rows < 16) std::fill_n(to, kTilePixels, kOutside);
    for_each_run(area, header.width, [&](int pixel, int64_t offset, auto length) {
      write_run(to + pixel, length, [&](int i) { return std::max(from[offset + i], -1); });
    });
  }
}

// Splits the tile into regions and appends their labels to the thread's table.
template <class T>
void find_regions(int64_t levels, LiftWorkspace<T>& work) {
  TileRegions<T>& regions = work.regions;
  const int32_t* tile_labels = work.tile_labels.data();
  const size_t first = work.labels.size();
  regions.count = 0;
  const auto region_of = [&](int pixel) {
    for (int r = 0; r < regions.count; ++r) {
      const int32_t* known = work.labels.data() + first + r * levels;
      int64_t level = 0;
      while (level < levels && known[level] == tile_labels[level * kTilePixels + pixel]) ++level;
      if (level == levels) return r;
    }
    for (int64_t level = 0; level < levels; ++level) work.labels.push_back(tile_labels[level * kTilePixels + pixel]);
    return regions.count++;
  };
  int parts = 0;
  for (int k = 0; k < kBlocks; ++k) {
    regions.part_begin[k] = parts;
    uint32_t left = 0;  // pixels of the block inside the image that have no region yet
    for (int lane = 0; lane < kLanes; ++lane) left |= uint32_t(tile_labels[kLanes * k + lane] != kOutside) << lane;
    for (; left; ++parts) {
      const int pixel = kLanes * k + __builtin_ctz(left);
      uint32_t equal = left;
      for (int64_t level = 0; level < levels; ++level) {
        const int32_t* row = tile_labels + level * kTilePixels;
        for (int lane = 0; lane < kLanes; ++lane) equal &= ~(uint32_t(row[kLanes * k + lane] != row[pixel]) << lane);
      }
      left &= ~equal;
      const int region = region_of(pixel);
      regions.part_region[parts] = region;
      for (int lane = 0; lane < kLanes; ++lane) {
        const bool inside = equal >> lane & 1;
        regions.part_lanes[kLanes * parts + lane] = T(inside);
        if (inside) regions.of_pixel[kLanes * k + lane] = uint8_t(region);
      }
    }
  }
  regions.part_begin[kBlocks] = parts;
}

// Adds the weight of each pair at the pixel that contains its projected centre, if that pixel is in the tile.
template <class T>
void sum_centres(const Pair<T>* pairs, int count, const TileArea& area, const Visits<T>& visits,
                 const TileRegions<T>& regions, T* sums) {
  for (int i = 0; i < count; ++i) {
    const T y = -pairs[i].b0 / pairs[i].vy, x = -(pairs[i].a0 + pairs[i].uy * y) / pairs[i].ux;
    const T column = std::floor(x + 8), row = std::floor(y + 8);
    if (!(column >= 0 && column < T(area.columns) && row >= 0 && row < T(area.rows))) continue;
    const int k = 4 * (int(row) / 2) + int(column) / 4, lane = 4 * (int(row) % 2) + int(column) % 4;
    const uint8_t *begin = visits.index + visits.begin[k], *end = visits.index + visits.end[k];
    const uint8_t* at = std::lower_bound(begin, end, uint8_t(i));
    if (at != end && *at == i)
      sums[i * regions.count + regions.of_pixel[kLanes * k + lane]] =
          visits.weight[kLanes * (at - visits.index) + lane];
  }
}

// Sums the weights of one tile's pairs by region.
template <class T>
void lift_tile(const PreparedView<T>& view, const Prepared& prepared, const LabelMaps& maps, uint32_t tile, int thread,
               LiftWorkspace<T>& work, PairSums* pair_sums) {
  const TileKernels<T>& kernel = kernels<T>();
  const uint32_t begin = view.tile_begin[tile], end = view.tile_begin[tile + 1];
  if (begin == end) return;
  const TileArea area = tile_area(*view.header, tile);
  load_labels(maps, *view.header, area, work);
  const size_t first_region = work.labels.size() / size_t(maps.levels);
  find_regions(maps.levels, work);
  const int regions = work.regions.count;
  work.visits.restore_or_evaluate(kernel, view, prepared, tile, area);
  work.sums.reserve(size_t(kBatch) * regions);
  uint32_t pair = begin;
  for (int batch = 0; batch < work.visits.batches(); ++batch) {
    const Visits<T> visits = work.visits.visits(batch);
    const int count = work.visits.pair_count(batch);
    T* sums = work.sums.get();
    std::fill_n(sums, size_t(count) * regions, T(0));
    if (maps.centres_only)
      sum_centres(work.visits.pairs(batch), count, area, visits, work.regions, sums);
    else
      kernel.sum_regions(visits, work.regions, sums);
    const size_t room = work.found_count + size_t(count) * regions;
    if (room > std::numeric_limits<uint32_t>::max()) throw std::length_error("one thread has more than 2^32 sums");
    work.found.reserve(room, work.found_count);
    RegionSum<T>* next = work.found.get() + work.found_count;
    for (int i = 0; i < count; ++i, ++pair) {
      RegionSum<T>* const start = next;
      for (int r = 0; r < regions; ++r) {
        *next = {uint32_t(first_region + r), sums[i * regions + r]};
        next += next->weight > 0;
      }
      pair_sums[pair] = {uint32_t(start - work.found.get()), uint16_t(next - start), uint16_t(thread)};
    }
    work.found_count = size_t(next - work.found.get());
  }
  std::fill(pair_sums + pair, pair_sums + end, PairSums{});  // pairs after every pixel has terminated
}

}  // namespace gaussian::cpu
