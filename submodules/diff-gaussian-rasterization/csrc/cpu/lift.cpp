// Lifting: blending weights summed over the pixels of every label, by (Gaussian, label).
//
// Levels share the weights: pixels of a tile with equal labels at all levels form a region, and the weights of the
// tile's pairs are summed by region. Then the pairs of each Gaussian are added in a fixed order, in double precision.
// No atomics, so the result does not depend on the number of threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "../backend.h"
#include "scratch.h"
#include "tile_pass.h"

namespace gaussian::cpu {
namespace {

constexpr int64_t kGaussianGrain = 4096;
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

// The results of one thread's tiles, input of the summation per Gaussian.
template <class T>
struct ThreadSums {
  const RegionSum<T>* found;
  const int32_t* labels;  // [regions, L]
};

// A positive weight sum at one level.
template <class T>
struct Row {
  uint32_t gaussian;
  int32_t label;
  T weight;
};

// Output rows of one thread, for one range of Gaussians after another.
template <class T>
struct RowBuffer {
  Buffer<Row<T>> rows;
  size_t size = 0;
};

// Location of the rows of one level and one range of Gaussians.
struct RowRange {
  int thread;
  size_t begin, size;
};

// Sums by label, in ascending order of labels. Each sum adds its weights in call order.
class LabelSums {
 public:
  void start(size_t most) {
    labels_.reserve(most), sums_.reserve(most);
    size_ = 0;
  }
  void add(int32_t label, double weight) {
    size_t at = size_;
    if (at > kLinear)
      at = size_t(std::upper_bound(labels_.get(), labels_.get() + at, label) - labels_.get());
    else
      while (at > 0 && labels_[at - 1] > label) --at;
    if (at > 0 && labels_[at - 1] == label) {
      sums_[at - 1] += weight;
      return;
    }
    for (size_t i = size_++; i > at; --i) labels_[i] = labels_[i - 1], sums_[i] = sums_[i - 1];
    labels_[at] = label, sums_[at] = weight;
  }
  // Appends the rows of Gaussian `i` and returns its total weight.
  template <class T>
  double append(int64_t i, RowBuffer<T>& out) {
    double total = 0;
    out.rows.reserve(out.size + size_, out.size);
    for (size_t k = 0; k < size_; ++k) {
      out.rows[out.size++] = {uint32_t(i), labels_[k], T(sums_[k])};
      total += sums_[k];
    }
    return total;
  }

 private:
  static constexpr size_t kLinear = 16;
  Buffer<int32_t> labels_;
  Buffer<double> sums_;
  size_t size_ = 0;
};

// The weight of a Gaussian over regions with the same labels at all levels.
struct TupleSum {
  const int32_t* labels;  // [L]
  double weight;
};

inline bool equal(const int32_t* a, const int32_t* b, int64_t length) {
  for (int64_t i = 0; i < length; ++i)  // short: std::equal would be a function call
    if (a[i] != b[i]) return false;
  return true;
}

// Sums the pairs of Gaussians [begin, end).
template <class T>
void gather_gaussians(const PreparedView<T>& view, int64_t levels, const ThreadSums<T>* threads,
                      const PairSums* pair_sums, int64_t begin, int64_t end, RowBuffer<T>* rows,
                      const LabelTotals<T>& totals) {
  constexpr int64_t kAhead = 24, kNear = 12;
  const int64_t n = view.header->count;
  constexpr size_t kRecent = 4;
  std::vector<LabelSums> sums(levels);
  Buffer<TupleSum> tuples;
  const uint32_t* last = view.pair_place + view.pair_begin[end];
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t *places = view.pair_place + view.pair_begin[i],
                   *places_end = view.pair_place + view.pair_begin[i + 1];
    size_t most = 0;
    for (const uint32_t* place = places; place < places_end; ++place) {
      if (place + kAhead < last) __builtin_prefetch(pair_sums + place[kAhead]);
      if (place + kNear < last) {
        const PairSums near = pair_sums[place[kNear]];
        __builtin_prefetch(threads[near.thread].found + near.begin);
      }
      most += pair_sums[*place].count;
    }
    if (most == 0) {
      for (int64_t level = 0; level < levels; ++level)
        totals.labelled[level * n + i] = totals.unlabelled[level * n + i] = 0;
      continue;
    }
    tuples.reserve(most);
    size_t count = 0;
    for (const uint32_t* place = places; place < places_end; ++place) {
      const PairSums pair = pair_sums[*place];
      const ThreadSums<T>& thread = threads[pair.thread];
      for (const RegionSum<T>*sum = thread.found + pair.begin, *stop = sum + pair.count; sum < stop; ++sum) {
        const int32_t* labels = thread.labels + sum->region * levels;
        size_t at = count;
        while (at > 0 && count - at < kRecent && !equal(labels, tuples[at - 1].labels, levels)) --at;
        if (at > 0 && count - at < kRecent)
          tuples[at - 1].weight += sum->weight;
        else
          tuples[count++] = {labels, sum->weight};
      }
    }
    for (int64_t level = 0; level < levels; ++level) {
      double unlabelled = 0;
      sums[level].start(count);
      for (size_t k = 0; k < count; ++k)
        if (tuples[k].labels[level] < 0)
          unlabelled += tuples[k].weight;
        else
          sums[level].add(tuples[k].labels[level], tuples[k].weight);
      totals.labelled[level * n + i] = T(sums[level].append(i, rows[level]));
      totals.unlabelled[level * n + i] = T(unlabelled);
    }
  }
}

}  // namespace

// Reserves the expected size; pages that are never touched cost nothing.
template <class T>
void reserve_huge(Buffer<T>& buffer, size_t size) {
  buffer.reserve(size);
  prefer_huge_pages(buffer.get(), size * sizeof(T));
}

template <class T>
std::vector<LiftedRows<T>> lift(const Prepared& prepared, const LabelMaps& maps, const LabelTotals<T>& totals,
                                Allocator results, Allocator scratch, const Execution& execution) {
  const PreparedView<T> view = PreparedView<T>::of(prepared);
  const PreparedHeader& header = *view.header;
  const int64_t levels = maps.levels;
  const int threads = std::min(execution.threads, int(std::numeric_limits<uint16_t>::max()));
  std::vector<std::unique_ptr<LiftWorkspace<T>>> work(threads);
  for (auto& one : work) {
    one = std::make_unique<LiftWorkspace<T>>();
    reserve_huge(one->found, size_t(2 * header.num_pairs / threads));
  }
  auto* pair_sums = take<PairSums>(scratch, header.num_pairs);
  parallel_for(threads, int64_t(header.tiles_x) * header.tiles_y, [&](int64_t item, int thread) {
    lift_tile(view, prepared, maps, view.tile_order[item], thread, *work[thread], pair_sums);
  });

  const int64_t pieces = (header.count + kGaussianGrain - 1) / kGaussianGrain;
  prefer_huge_pages(totals.labelled, size_t(levels * header.count) * sizeof(T));
  prefer_huge_pages(totals.unlabelled, size_t(levels * header.count) * sizeof(T));
  std::vector<ThreadSums<T>> sums(threads);
  for (int i = 0; i < threads; ++i) sums[i] = {work[i]->found.get(), work[i]->labels.data()};
  std::vector<RowBuffer<T>> rows(size_t(threads * levels));
  for (auto& one : rows) reserve_huge(one.rows, size_t(2 * header.num_visible / threads));
  std::vector<RowRange> ranges(size_t(pieces * levels));
  parallel_ranges(threads, header.count, kGaussianGrain, [&](int64_t begin, int64_t end, int thread) {
    RowBuffer<T>* mine = &rows[size_t(thread * levels)];
    RowRange* range = &ranges[size_t(begin / kGaussianGrain * levels)];
    for (int64_t level = 0; level < levels; ++level) range[level] = {thread, mine[level].size, 0};
    gather_gaussians(view, levels, sums.data(), pair_sums, begin, end, mine, totals);
    for (int64_t level = 0; level < levels; ++level) range[level].size = mine[level].size - range[level].begin;
  });
  std::vector<LiftedRows<T>> out(levels);
  std::vector<int64_t> place(ranges.size());
  for (int64_t level = 0; level < levels; ++level) {
    for (size_t i = size_t(level); i < ranges.size(); i += size_t(levels)) {
      place[i] = out[level].count;
      out[level].count += int64_t(ranges[i].size);
    }
    out[level].gaussians = take<int64_t>(results, out[level].count);
    out[level].labels = take<int32_t>(results, out[level].count);
    out[level].weights = take<T>(results, out[level].count);
  }
  parallel_for(threads, int64_t(ranges.size()), [&](int64_t i, int) {
    const LiftedRows<T>& to = out[i % levels];
    const Row<T>* from = rows[ranges[i].thread * levels + i % levels].rows.get() + ranges[i].begin;
    for (size_t k = 0; k < ranges[i].size; ++k) {
      to.gaussians[place[i] + int64_t(k)] = from[k].gaussian;
      to.labels[place[i] + int64_t(k)] = from[k].label;
      to.weights[place[i] + int64_t(k)] = from[k].weight;
    }
  });
  return out;
}

template std::vector<LiftedRows<float>> lift(const Prepared&, const LabelMaps&, const LabelTotals<float>&, Allocator,
                                             Allocator, const Execution&);
template std::vector<LiftedRows<double>> lift(const Prepared&, const LabelMaps&, const LabelTotals<double>&, Allocator,
                                              Allocator, const Execution&);

}  // namespace gaussian::cpu
