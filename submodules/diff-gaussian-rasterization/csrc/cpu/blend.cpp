// Forward pass: evaluates the visits of each tile once, then accumulates a few channels at a time.
#include "../backend.h"
#include "../gaussian_math.h"
#include "scratch.h"
#include "tile_pass.h"

namespace gaussian::cpu {
namespace {

template <class T>
struct BlendWorkspace {
  TileVisits<T> visits;
  alignas(64) T features[kBatch * kForwardChannels];
  alignas(64) T sums[kTilePixels * kForwardChannels];
};

}  // namespace

template <class T>
void blend(const Camera<T>& camera, const Prepared& prepared, const Features<T>& features, const Images<T>& images,
           Allocator, const Execution& execution) {
  const PreparedView<T> view = PreparedView<T>::of(prepared);
  const PreparedHeader& header = *view.header;
  const TileKernels<T>& kernel = kernels<T>();
  const Channels<T> channels{features.values, features.channels, images.depth ? view.depth : nullptr};
  const int64_t tiles = int64_t(header.tiles_x) * header.tiles_y, pixels = int64_t(camera.width) * camera.height;
  std::vector<std::unique_ptr<BlendWorkspace<T>>> workspaces(execution.threads);
  for (auto& workspace : workspaces) workspace = std::make_unique<BlendWorkspace<T>>();

  const auto image_of = [&](int64_t channel) {
    return channel == features.channels ? images.depth : images.image + channel * pixels;
  };
  prefer_huge_pages(images.image, size_t(features.channels * pixels) * sizeof(T));  // usually newly allocated
  parallel_for(execution.threads, tiles, [&](int64_t item, int thread) {
    BlendWorkspace<T>& work = *workspaces[thread];
    const uint32_t tile = view.tile_order[item];
    const TileArea area = tile_area(header, tile);
    const T* transmittance = work.visits.state.transmittance;

    const auto blend_channels = [&](int64_t first, int count) {
      // Prefetch the caller's rows while the sums are computed.
      for (int c = 0; c < count; ++c)
        for (int row = 0; row < area.rows; ++row)
          __builtin_prefetch(image_of(first + c) + area.pixel(camera.width) + int64_t(row) * camera.width, 1);
      std::fill_n(work.sums, kTilePixels * count, T(0));
      for (int batch = 0; batch < work.visits.batches(); ++batch) {
        channels.gather(work.visits.pairs(batch), work.visits.pair_count(batch), first, count, work.features);
        kernel.accumulate(work.visits.visits(batch), work.features, count, work.sums);
      }
      for (int c = 0; c < count; ++c) {
        const int64_t channel = first + c;
        const bool is_depth = channel == features.channels;
        const T behind = !is_depth && features.background ? features.background[channel] : T(0);
        T* image = image_of(channel) + area.pixel(camera.width);
        const T* sums = work.sums + kTilePixels * c;
        for_each_run(area, camera.width, [&](int from, int64_t to, auto length) {
          write_run(image + to, length, [&](int i) { return sums[from + i] + transmittance[from + i] * behind; });
        });
      }
    };
    int64_t last = channels.count();
    if (prepared.half_weights && images.depth) {  // depth is blended with unrounded weights
      work.visits.evaluate(kernel, view, tile, area, false);
      blend_channels(--last, 1);
      work.visits.round(kernel);
    } else {
      work.visits.restore_or_evaluate(kernel, view, prepared, tile, area);
    }
    for (int64_t first = 0; first < last; first += kForwardChannels)
      blend_channels(first, int(std::min<int64_t>(kForwardChannels, last - first)));
    if (!images.alpha) return;
    T* alpha = images.alpha + area.pixel(camera.width);
    for_each_run(area, camera.width, [&](int from, int64_t to, auto length) {
      write_run(alpha + to, length, [&](int i) { return T(1) - transmittance[from + i]; });
    });
  });
}

template void blend(const Camera<float>&, const Prepared&, const Features<float>&, const Images<float>&, Allocator,
                    const Execution&);
template void blend(const Camera<double>&, const Prepared&, const Features<double>&, const Images<double>&, Allocator,
                    const Execution&);

std::vector<Work> measure_work(const Prepared& prepared) {
  const PreparedView<float> view = PreparedView<float>::of(prepared);
  TileVisits<float> tile_visits;
  std::vector<Work> work(size_t(view.header->tiles_x) * view.header->tiles_y);
  for (uint32_t tile = 0; tile < work.size(); ++tile) {
    tile_visits.evaluate(kernels<float>(), view, tile, tile_area(*view.header, tile), false);
    work[tile].pairs = view.tile_begin[tile + 1] - view.tile_begin[tile];
    work[tile].evaluations = kLanes * tile_visits.state.evaluated;
    for (int batch = 0; batch < tile_visits.batches(); ++batch) {
      const Visits<float> visits = tile_visits.visits(batch);
      for (int k = 0; k < kBlocks; ++k)
        work[tile].blends += std::count_if(visits.weight + kLanes * visits.begin[k],
                                           visits.weight + kLanes * visits.end[k], [](float w) { return w > 0; });
    }
  }
  return work;
}

}  // namespace gaussian::cpu
