// One view through the CUDA backend, emulated: prepare, blend, both ways back. Called from Python through ctypes.
#include <cuda_runtime.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../csrc/backend.h"

namespace {

// Exactly the size asked for, so that an address sanitizer sees every overrun; what was not written reads as NaN.
struct Memory {
  std::vector<std::unique_ptr<unsigned char, decltype(&std::free)>> blocks;

  static void* allocate(void* context, size_t bytes) {
    void* block = nullptr;
    if (posix_memalign(&block, 64, bytes) != 0) throw std::bad_alloc();
    std::memset(block, 0xff, bytes);
    static_cast<Memory*>(context)->blocks.emplace_back(static_cast<unsigned char*>(block), &std::free);
    return block;
  }
  gaussian::Allocator allocator() { return {this, &allocate}; }
};

thread_local std::string message;
int64_t pairs = 0, kept_positions = 0;  // of the last view

int64_t entries_of(const gaussian::Camera<float>& camera, const gaussian::Prepared& listed) {
  const int64_t tiles = int64_t{(camera.width + 15) / 16} * ((camera.height + 15) / 16);
  return static_cast<const int64_t*>(listed.weights)[8 * tiles];
}

template <class Function>
int guarded(const Function& function) {
  try {
    function();
    return 0;
  } catch (const std::exception& error) {
    message = error.what();
    return 1;
  }
}

}  // namespace

extern "C" {

struct View {
  gaussian::Camera<float> camera;
  gaussian::Gaussians<float> gaussians;
  gaussian::Features<float> features;
  gaussian::Images<float> images;
  gaussian::ImageGradients<float> image_gradients;
  gaussian::Gradients<float> gradients;
  int32_t* radii;
  int64_t num_visible, num_pairs;  // written
  int32_t thread_order, compute_capability;
};

const char* last_error() { return message.c_str(); }
int64_t last_pairs() { return pairs; }
int64_t last_kept_positions() { return kept_positions; }
size_t view_size() { return sizeof(View); }

// Prepares and blends; then, with any gradient wanted, goes back.
int rasterize(View* view) {
  return guarded([&] {
    emulation::thread_order = view->thread_order;
    emulation::compute_capability = view->compute_capability;
    Memory state, scratch;
    const gaussian::Execution execution = {1, 0, nullptr};
    const auto prepared = gaussian::cuda::prepare(view->camera, view->gaussians, view->radii, state.allocator(),
                                                  scratch.allocator(), execution);
    scratch.blocks.clear();
    view->num_visible = prepared.num_visible;
    view->num_pairs = pairs = prepared.num_pairs;
    gaussian::cuda::blend(view->camera, prepared, view->features, view->images, scratch.allocator(), execution);
    // Blending over a prepared view, where alpha and depth are not wanted again, is another kernel.
    const int64_t pixels = view->features.channels * view->camera.width * int64_t{view->camera.height};
    float* again = static_cast<float*>(Memory::allocate(&scratch, static_cast<size_t>(pixels) * sizeof(float)));
    gaussian::cuda::blend(view->camera, prepared, view->features, {again, nullptr, nullptr}, scratch.allocator(),
                          execution);
    if (std::memcmp(again, view->images.image, static_cast<size_t>(pixels) * sizeof(float)) != 0)
      throw std::logic_error("blending a prepared view gives another image");
    // With kept lists the image has the same bits again; gradients below are taken with them.
    Memory kept;
    gaussian::cuda::keep_lists(view->camera, prepared, kept.allocator(), scratch.allocator(), execution);
    gaussian::Prepared listed = prepared;
    listed.weights = kept.blocks.front().get();
    const size_t image_bytes = static_cast<size_t>(pixels) * sizeof(float);
    std::memset(again, 0xff, image_bytes);
    gaussian::cuda::blend(view->camera, listed, view->features, {again, nullptr, nullptr}, scratch.allocator(),
                          execution);
    if (std::memcmp(again, view->images.image, image_bytes) != 0)
      throw std::logic_error("blending with kept lists gives another image");
    kept_positions = entries_of(view->camera, listed);
    if (view->gradients.features || view->gradients.geometry())
      gaussian::cuda::blend_backward(view->camera, view->gaussians, listed, view->features, view->image_gradients,
                                     view->gradients, scratch.allocator(), execution);
  });
}

// Prepares and lists the pairs of the tiles; then, with `sums` not null, adds to them by region.
int lift(View* view, int64_t* tile_begin, int64_t* gaussians, const gaussian::RegionMap* regions, bool centres_only,
         float* sums) {
  return guarded([&] {
    emulation::thread_order = view->thread_order;
    Memory state, scratch;
    const gaussian::Execution execution = {1, 0, nullptr};
    const auto prepared = gaussian::cuda::prepare(view->camera, view->gaussians, view->radii, state.allocator(),
                                                  scratch.allocator(), execution);
    view->num_pairs = prepared.num_pairs;
    gaussian::cuda::list_pairs(view->camera, prepared, tile_begin, gaussians, execution);
    if (sums) gaussian::cuda::sum_regions(view->camera, prepared, *regions, centres_only, sums, execution);
  });
}

int harmonics(gaussian::Harmonics<float>* harmonics, float* colors, const float* grad_colors,
              gaussian::HarmonicsGradients<float>* gradients) {
  return guarded([&] {
    const gaussian::Execution execution = {1, 0, nullptr};
    gaussian::cuda::evaluate_sh(*harmonics, colors, execution);
    gaussian::cuda::evaluate_sh_backward(*harmonics, colors, grad_colors, *gradients, execution);
  });
}

void watch_nonfinite(const float* values, int64_t count, uint64_t* report) {
  gaussian::cuda::watch_nonfinite({{values, count, report}}, {1, 0, nullptr});
}

void* pinned_reports(int64_t count) {
  void* reports = nullptr;
  guarded([&] { reports = reinterpret_cast<void*>(gaussian::cuda::pinned_reports(count, {1, 0, nullptr})); });
  return reports;
}

emulation::Runtime* runtime() { return &emulation::runtime; }
}
