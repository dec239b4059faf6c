// The interface of each backend. All functions throw std::exception on failure and never read outside the given arrays,
// whatever values these hold. The caller checks that values are finite: `first_nonfinite`, `watch_nonfinite`; only
// prepare tests the parameters of the Gaussians itself and throws std::domain_error.
#pragma once

#include <string>
#include <vector>

#include "types.h"

namespace gaussian {

// Spherical harmonics to colours: colours = max(0, sh(direction from camera_center to mean) + 0.5).
template <class T>
struct Harmonics {
  int64_t count;          // n
  int64_t stride;         // coefficients stored per Gaussian, at least (degree + 1)^2
  int degree;             // 0 to 3
  const T* means;         // [n, 3]
  const T* coefficients;  // [n, stride, 3]
  T camera_center[3];
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("count", count), visit("stride", stride), visit("degree", degree), visit("means", means);
    visit("coefficients", coefficients), visit("camera_center", camera_center);
  }
};

template <class T>
struct HarmonicsGradients {
  T* means;         // [n, 3] or null
  T* coefficients;  // [n, stride, 3] or null; zero above the degree
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("means", means), visit("coefficients", coefficients);
  }
};

// For T = float. T = double (scalar code only) exists to check the float path and the shared derivatives.
namespace cpu {

// Projects, culls, sorts and bins. `radii` [n] gets ceil(3 sqrt(largest eigenvalue)) in pixels, 0 where culled. A
// Gaussian is culled when z <= 0.2, when it is not finite after projection, or when the box of its alpha >= 1/255
// region contains no pixel centre.
template <class T>
Prepared prepare(const Camera<T>&, const Gaussians<T>&, int32_t* radii, Allocator state, Allocator scratch,
                 const Execution&);

// Blends features over a prepared view. When alpha and depth are requested, it may also store results that depend on
// geometry alone (such as the final transmittance) in the prepared memory; they are the same in every call.
template <class T>
void blend(const Camera<T>&, const Prepared&, const Features<T>&, const Images<T>&, Allocator scratch,
           const Execution&);

// Backward pass of blend. When only `gradients.features` is requested, neither the feature values nor anything of
// `gaussians` but its count is read.
template <class T>
void blend_backward(const Camera<T>&, const Gaussians<T>&, const Prepared&, const Features<T>&,
                    const ImageGradients<T>&, const Gradients<T>&, Allocator scratch, const Execution&);

template <class T>
void evaluate_sh(const Harmonics<T>&, T* colors, const Execution&);

// `grad_colors` is the gradient with respect to the clamped colours, `colors` what evaluate_sh returned.
template <class T>
void evaluate_sh_backward(const Harmonics<T>&, const T* colors, const T* grad_colors, const HarmonicsGradients<T>&,
                          const Execution&);

// Flat index of the first NaN or infinity, or -1.
template <class T>
int64_t first_nonfinite(const T* values, int64_t count, const Execution&);

// Blending weights of a prepared view, summed over pixels by (Gaussian, label): one list per level, allocated
// from `results`. The sums are bitwise the same for any number of threads.
template <class T>
std::vector<LiftedRows<T>> lift(const Prepared&, const LabelMaps&, const LabelTotals<T>&, Allocator results,
                                Allocator scratch, const Execution&);

// The instruction sets available to float calls on this processor, fastest first: "avx512", "avx2", "neon", "scalar".
std::vector<std::string> instruction_sets();
// Gets and sets the instruction set in use. Results of different sets agree only to rounding.
const char* instruction_set();
void use_instruction_set(const std::string& name);

// Operation counts of blending a tile of a prepared float view, for benchmarks.
struct Work {
  int64_t pairs;
  int64_t evaluations;  // of alpha, one per pixel and Gaussian
  int64_t blends;       // evaluations with a positive weight
};
std::vector<Work> measure_work(const Prepared&);  // by tile

// The blending weights of a prepared float view, for Prepared::weights; results are bitwise the same with and without
// them. About 17 bytes per 8 evaluations of alpha with Prepared::half_weights, 33 without. Places: the byte offset of
// each tile, then the total size.
std::vector<int64_t> weight_places(const Prepared&, const Execution&);
void keep_weights(const Prepared&, const std::vector<int64_t>& places, void* memory, const Execution&);
}  // namespace cpu

// The first five functions, for float only.
namespace cuda {

Prepared prepare(const Camera<float>&, const Gaussians<float>&, int32_t* radii, Allocator state, Allocator scratch,
                 const Execution&);
void blend(const Camera<float>&, const Prepared&, const Features<float>&, const Images<float>&, Allocator scratch,
           const Execution&);
void blend_backward(const Camera<float>&, const Gaussians<float>&, const Prepared&, const Features<float>&,
                    const ImageGradients<float>&, const Gradients<float>&, Allocator scratch, const Execution&);
void evaluate_sh(const Harmonics<float>&, float* colors, const Execution&);
void evaluate_sh_backward(const Harmonics<float>&, const float* colors, const float* grad_colors,
                          const HarmonicsGradients<float>&, const Execution&);

// Writes the tile lists: tile t has the pairs tile_begin[t] to tile_begin[t + 1] of `gaussians`.
void list_pairs(const Camera<float>&, const Prepared&, int64_t* tile_begin, int64_t* gaussians, const Execution&);
// Adds to `sums` the blending weights of each pair over each region of its tile; the order is not deterministic.
void sum_regions(const Camera<float>&, const Prepared&, const RegionMap&, bool centres_only, float* sums,
                 const Execution&);

// The splat lists of a prepared view's pixel blocks, for Prepared::weights: later passes skip filtering the tile lists,
// with bitwise the same results. One allocation from `memory`, 4 bytes per (Gaussian, block) and 8 per block.
// Synchronises.
void keep_lists(const Camera<float>&, const Prepared&, Allocator memory, Allocator scratch, const Execution&);

// Address of `count` reports in page-locked host memory that devices can write. Never freed.
uintptr_t pinned_reports(int64_t count, const Execution&);

// A tensor to search for NaN and infinity; the search stores the minimum of *report and the first bad flat index.
struct WatchedTensor {
  const float* values;
  int64_t count;
  uint64_t* report;  // one of pinned_reports
};

// Queues a search of all tensors, one kernel per four tensors, and does not synchronise.
void watch_nonfinite(const std::vector<WatchedTensor>&, const Execution&);
}  // namespace cuda
}  // namespace gaussian
