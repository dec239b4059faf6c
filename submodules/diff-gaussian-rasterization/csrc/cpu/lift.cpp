// Lifting: blending weights summed over the pixels of every label, by (Gaussian, label).
//
// Levels share the weights: pixels of a tile with equal labels at all levels form a region, and the weights of the
// tile's pairs are summed by region. Then the pairs of each Gaussian are added in a fixed order, in double precision.
// No atomics, so the result does not depend on the number of threads.
#include <algorithm>
#include <limits>

#include "../backend.h"
#include "lift_tile.h"
#include "scratch.h"

namespace gaussian::cpu {
namespace {

constexpr int64_t kGaussianGrain = 4096;

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
  // Inserting into the middle of a longer list of labels takes too long: its labels come in ascending order.
  constexpr size_t kFew = 256;
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
      if (count > kFew)
        std::stable_sort(tuples.get(), tuples.get() + count,
                         [level](const TupleSum& a, const TupleSum& b) { return a.labels[level] < b.labels[level]; });
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
