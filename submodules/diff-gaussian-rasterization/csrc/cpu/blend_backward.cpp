// Backward pass. Tiles run in parallel and write their gradients to one slot per (Gaussian, tile) pair; then the
// slots of each Gaussian are summed in a fixed order. No atomics and no per-thread copies, so the result does not
// depend on the number of threads.
#include "../backend.h"
#include "scratch.h"
#include "tile_pass.h"
#include "view_kernels.h"

namespace gaussian::cpu {
namespace {

constexpr int64_t kSlotBytes = int64_t(256) << 20;  // above this, channels are split into several passes
constexpr int64_t kMinChannelsPerPass = 32;         // per pass; fewer would repeat the evaluation too often
constexpr int kMaxColumns = 2 * kLanes;             // per scatter

template <class T>
struct BackwardWorkspace {
  TileVisits<T> visits;
  alignas(64) T features[kBatch * kForwardChannels];
  alignas(64) T values[kTilePixels * kMaxColumns];  // image gradients, by channel or by pixel
  alignas(64) T sums[kBatch * kMaxColumns];
  alignas(64) T behind[kTilePixels];
};

// 1, x, y, xx, xy, yy of every pixel relative to the tile's centre: the factors of the moments.
template <class T>
struct alignas(64) MomentBasis {
  T values[kTilePixels * kLanes];
  MomentBasis() {
    for (int k = 0; k < kBlocks; ++k)
      for (int lane = 0; lane < kLanes; ++lane) {
        const T x = T(4 * (k % 4) + lane % 4) - T(7.5), y = T(2 * (k / 4) + lane / 4) - T(7.5);
        const T basis[kLanes] = {1, x, y, x * x, x * y, y * y, 0, 0};
        std::copy_n(basis, kLanes, values + kLanes * (kLanes * k + lane));
      }
  }
};

// Converts moments in tile coordinates to sums over t1 and t2, which are linear in the coordinates.
template <class T>
void write_splat_gradient(const Pair<T>& pair, const T* moments, T* slot) {
  const T one = moments[0], x = moments[1], y = moments[2], xx = moments[3], xy = moments[4], yy = moments[5];
  const T t1 = pair.a0 * one + pair.ux * x + pair.uy * y, t2 = pair.b0 * one + pair.vy * y;
  const T x_t1 = pair.a0 * x + pair.ux * xx + pair.uy * xy, y_t1 = pair.a0 * y + pair.ux * xy + pair.uy * yy;
  slot[0] = one, slot[1] = t1, slot[2] = t2;
  slot[3] = pair.a0 * t1 + pair.ux * x_t1 + pair.uy * y_t1;
  slot[4] = pair.b0 * t1 + pair.vy * y_t1;
  slot[5] = pair.b0 * t2 + pair.vy * (pair.b0 * y + pair.vy * yy);
}

// One pass over all tiles: feature channels [first, last) and, if `geometry`, the splats.
template <class T>
class TilePass {
 public:
  TilePass(const Camera<T>& camera, const PreparedView<T>& view, const Prepared& prepared, const Features<T>& features,
           const ImageGradients<T>& grads, bool geometry, int64_t first, int64_t last, T* slots)
      : camera_(camera),
        view_(view),
        prepared_(prepared),
        features_(features),
        grads_(grads),
        geometry_(geometry),
        first_(first),
        last_(last),
        slots_(slots),
        stride_((geometry ? kGeometrySlot : 0) + (last - first)),
        pixels_(int64_t(camera.width) * camera.height) {}

  void run(int threads) const {
    std::vector<std::unique_ptr<BackwardWorkspace<T>>> workspaces(threads);
    for (auto& workspace : workspaces) workspace = std::make_unique<BackwardWorkspace<T>>();
    parallel_for(threads, int64_t(view_.header->tiles_x) * view_.header->tiles_y,
                 [&](int64_t item, int thread) { tile(view_.tile_order[item], *workspaces[thread]); });
  }

 private:
  void tile(uint32_t tile, BackwardWorkspace<T>& work) const {
    const uint32_t begin = view_.tile_begin[tile], end = view_.tile_begin[tile + 1];
    const TileArea area = tile_area(*view_.header, tile);
    T* slots = slots_ + begin * stride_;
    if (geometry_)  // also needs alpha, which is not kept
      work.visits.evaluate(kernel_, view_, tile, area, true);
    else
      work.visits.restore_or_evaluate(kernel_, view_, prepared_, tile, area);
    int64_t reached = 0;  // pairs behind the last evaluated batch get zero
    for (int batch = 0; batch < work.visits.batches(); ++batch) reached += work.visits.pair_count(batch);
    std::fill(slots + reached * stride_, slots + (end - begin) * stride_, T(0));
    if (geometry_) geometry(area, work, slots);
    int64_t channel = first_;
    if (kernel_.scatter16)
      for (; last_ - channel > kLanes; channel += kMaxColumns)
        scatter_channels<kMaxColumns>(kernel_.scatter16, channel, area, work, slots);
    for (; last_ - channel > 2; channel += kLanes)
      scatter_channels<kLanes>(kernel_.scatter8, channel, area, work, slots);
    for (; channel < last_; ++channel) {
      load_channel(grads_.image + channel * pixels_, area, work.values);
      scatter<kLanes>(kernel_.scatter1, nullptr, work, work.values, [&](int64_t pair, const T* sums) {
        slots[(pair + 1) * stride_ - (last_ - channel)] = sum_lanes(sums);
      });
    }
  }

  // Gradients of up to kColumns channels starting at `channel`.
  template <int kColumns, class Kernel>
  void scatter_channels(Kernel kernel, int64_t channel, const TileArea& area, BackwardWorkspace<T>& work,
                        T* slots) const {
    const int count = int(std::min<int64_t>(kColumns, last_ - channel));
    load_pixels<kColumns>(channel, count, area, work.values);
    T* column = slots + stride_ - (last_ - channel);
    if (count == kColumns)  // copies of constant length are inlined
      scatter<kColumns>(kernel, nullptr, work, work.values, [&](int64_t pair, const T* sums) {
        std::memcpy(column + pair * stride_, sums, kColumns * sizeof(T));
      });
    else
      scatter<kColumns>(kernel, nullptr, work, work.values,
                        [&](int64_t pair, const T* sums) { std::copy_n(sums, count, column + pair * stride_); });
  }

  void geometry(const TileArea& area, BackwardWorkspace<T>& work, T* slots) const {
    TileVisits<T>& visits = work.visits;
    visits.products.reserve(kLanes * size_t(visits.size()));
    T* products = visits.products.get();
    const Channels<T> channels{features_.values, grads_.image ? features_.channels : 0,
                               grads_.depth ? view_.depth : nullptr};
    std::fill_n(work.behind, kTilePixels, T(0));
    if (channels.count() == 0) std::fill_n(products, kLanes * visits.size(), T(0));
    for (int64_t first = 0; first < channels.count(); first += kForwardChannels) {
      const int count = int(std::min<int64_t>(kForwardChannels, channels.count() - first));
      for (int c = 0; c < count; ++c) {
        const bool is_depth = first + c == channels.width;
        T* values = work.values + kTilePixels * c;
        load_channel(is_depth ? grads_.depth : grads_.image + (first + c) * pixels_, area, values);
        if (is_depth || !features_.background) continue;
        for (int p = 0; p < kTilePixels; ++p) work.behind[p] += features_.background[first + c] * values[p];
      }
      for (int batch = 0; batch < visits.batches(); ++batch) {
        channels.gather(visits.pairs(batch), visits.pair_count(batch), first, count, work.features);
        kernel_.dot(visits.visits(batch), work.features, count, work.values, first > 0,
                    products + kLanes * visits.offset(batch));
      }
    }
    if (grads_.alpha) {  // alpha = 1 - final transmittance
      load_channel(grads_.alpha, area, work.values);
      for (int p = 0; p < kTilePixels; ++p) work.behind[p] -= work.values[p];
    }
    for (int batch = visits.batches() - 1; batch >= 0; --batch)
      kernel_.differentiate(visits.visits(batch), work.behind, products + kLanes * visits.offset(batch));

    static const MomentBasis<T> basis;
    const Pair<T>* pairs = visits.batches() ? visits.pairs(0) : nullptr;
    scatter<kLanes>(kernel_.scatter8, products, work, basis.values, [&](int64_t pair, const T* sums) {
      write_splat_gradient(pairs[pair], sums, slots + pair * stride_);
      slots[pair * stride_ + kGeometrySlot - 1] = 0;
    });
    if (!grads_.depth) return;
    load_channel(grads_.depth, area, work.values);
    scatter<kLanes>(kernel_.scatter1, nullptr, work, work.values,
                    [&](int64_t pair, const T* sums) { slots[pair * stride_ + kGeometrySlot - 1] = sum_lanes(sums); });
  }

  // Sums `factors` (weights if null) times `values` over the pixels of each pair and calls write(pair, kColumns sums).
  template <int kColumns, class Kernel, class Write>
  void scatter(Kernel kernel, const T* factors, BackwardWorkspace<T>& work, const T* values, Write&& write) const {
    int64_t pair = 0;
    for (int batch = 0; batch < work.visits.batches(); ++batch) {
      const Visits<T> visits = work.visits.visits(batch);
      const int count = work.visits.pair_count(batch);
      std::fill_n(work.sums, kColumns * count, T(0));
      kernel(visits, factors ? factors + kLanes * work.visits.offset(batch) : visits.weight, values, work.sums);
      for (int i = 0; i < count; ++i, ++pair) write(pair, work.sums + kColumns * i);
    }
  }

  static T sum_lanes(const T* v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

  // One channel of an image gradient in block order; zero outside the image.
  void load_channel(const T* image, const TileArea& area, T* values) const {
    if (area.columns < 16 || area.rows < 16) std::fill_n(values, kTilePixels, T(0));
    image += area.pixel(camera_.width);
    for_each_run(area, camera_.width, [&](int to, int64_t from, auto length) {
      for (int i = 0; i < length; ++i) values[to + i] = image[from + i];
    });
  }

  // Up to kColumns channels, interleaved by pixel; zero outside the image and beyond `count`.
  template <int kColumns>
  void load_pixels(int64_t channel, int count, const TileArea& area, T* values) const {
    if (area.columns < 16 || area.rows < 16 || count < kColumns) std::fill_n(values, kTilePixels * kColumns, T(0));
    for (int c = 0; c < count; ++c) {
      const T* image = grads_.image + (channel + c) * pixels_ + area.pixel(camera_.width);
      for_each_run(area, camera_.width, [&](int to, int64_t from, auto length) {
        for (int i = 0; i < length; ++i) values[kColumns * (to + i) + c] = image[from + i];
      });
    }
  }

  const TileKernels<T>& kernel_ = kernels<T>();
  const Camera<T>& camera_;
  const PreparedView<T>& view_;
  const Prepared& prepared_;
  const Features<T>& features_;
  const ImageGradients<T>& grads_;
  const bool geometry_;
  const int64_t first_, last_;
  T* const slots_;
  const int64_t stride_, pixels_;
};

constexpr int64_t kGrain = 2048;

}  // namespace

template <class T>
void blend_backward(const Camera<T>& camera, const Gaussians<T>& gaussians, const Prepared& prepared,
                    const Features<T>& features, const ImageGradients<T>& image_grads, const Gradients<T>& grads,
                    Allocator scratch, const Execution& execution) {
  const PreparedView<T> view = PreparedView<T>::of(prepared);
  const int threads = execution.threads;
  const int64_t channels = grads.features && image_grads.image ? features.channels : 0;
  if (grads.features && channels == 0 && features.channels > 0)
    std::fill_n(grads.features, gaussians.count * features.channels, T(0));

  if (grads.features) prefer_huge_pages(grads.features, size_t(gaussians.count * features.channels) * sizeof(T));
  bool geometry = grads.geometry();
  const int64_t affordable = kSlotBytes / (std::max<int64_t>(1, prepared.num_pairs) * int64_t(sizeof(T)));
  const int64_t per_pass = std::max(kMinChannelsPerPass, affordable / kLanes * kLanes);
  const int64_t widest = (geometry ? kGeometrySlot : 0) + std::min(channels, per_pass);
  T* slots = take<T>(scratch, prepared.num_pairs * widest);
  for (int64_t first = 0; geometry || first < channels; first += per_pass, geometry = false) {
    const int64_t last = std::max(first, std::min(channels, first + per_pass));
    TilePass<T>(camera, view, prepared, features, image_grads, geometry, first, last, slots).run(threads);
    const Slots<T> rows{slots, geometry, first, last, features.channels};
    parallel_ranges(threads, gaussians.count, kGrain, [&](int64_t begin, int64_t end, int) {
      view_kernels<T>().gather(camera, gaussians, view, rows, begin, end, grads);
    });
  }
}

template void blend_backward(const Camera<float>&, const Gaussians<float>&, const Prepared&, const Features<float>&,
                             const ImageGradients<float>&, const Gradients<float>&, Allocator, const Execution&);
template void blend_backward(const Camera<double>&, const Gaussians<double>&, const Prepared&, const Features<double>&,
                             const ImageGradients<double>&, const Gradients<double>&, Allocator, const Execution&);

}  // namespace gaussian::cpu
