// Plain structs shared by the Python binding, the CPU backend and the CUDA backend. Pointers are borrowed, rows are
// contiguous, shapes are in brackets, and a null pointer means "not given" or "not requested". `each_field` names the
// fields for Python, which passes structs as dicts (see binding.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace gaussian {

// Pinhole camera, OpenCV axes (x right, y down, z forward), pixel centres at +0.5.
template <class T>
struct Camera {
  T rotation[9];  // world to camera, row-major: camera = rotation * world + translation
  T translation[3];
  T fx, fy, cx, cy;  // pixels
  T tan_x, tan_y;    // tangents of half the field of view: width / (2 fx), height / (2 fy)
  int32_t width, height;
  bool rigid = false;  // rotation is a rotation matrix to rounding; false is always safe
};

// The Gaussians as activated parameters. Either `scales` and `rotations`, or `covariances`.
template <class T>
struct Gaussians {
  int64_t count;         // n
  const T* means;        // [n, 3] world units
  const T* scales;       // [n, 3] standard deviations, world units
  const T* rotations;    // [n, 4] quaternions wxyz, any length; the zero quaternion is the identity
  const T* covariances;  // [n, 6] upper triangle xx xy xz yy yz zz, world units squared (scale_modifier does not apply)
  const T* opacities;    // [n]
  T scale_modifier;      // multiplies the scales
  bool antialiasing;     // opacity times sqrt(det / det with blur), so that thin Gaussians keep their energy
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("count", count), visit("means", means), visit("scales", scales), visit("rotations", rotations);
    visit("covariances", covariances), visit("opacities", opacities), visit("scale_modifier", scale_modifier);
    visit("antialiasing", antialiasing);
  }
};

// The values to blend: one row of channels per Gaussian.
template <class T>
struct Features {
  int64_t channels;     // D, at least 0; with 0 only alpha and depth are blended
  const T* values;      // [n, D]
  const T* background;  // [D] or null (black)
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("channels", channels), visit("values", values), visit("background", background);
  }
};

// Outputs of blending. image = sum w f + T background, alpha = sum w = 1 - T, depth = sum w z (camera z, not
// normalised).
template <class T>
struct Images {
  T* image;  // [D, H, W]
  T* alpha;  // [H, W] or null
  T* depth;  // [H, W] or null
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("image", image), visit("alpha", alpha), visit("depth", depth);
  }
};

// Gradients of the loss with respect to those outputs.
template <class T>
struct ImageGradients {
  const T* image;  // [D, H, W] or null (zero)
  const T* alpha;  // [H, W] or null (zero)
  const T* depth;  // [H, W] or null (zero)
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("image", image), visit("alpha", alpha), visit("depth", depth);
  }
};

// Requested gradients. The backend writes every element of those that are not null (culled Gaussians get zero).
template <class T>
struct Gradients {
  T* features;     // [n, D]
  T* means;        // [n, 3]
  T* means2d;      // [n, 2] in normalised device units: pixel gradient times (width / 2, height / 2)
  T* scales;       // [n, 3]
  T* rotations;    // [n, 4] with respect to the unnormalised quaternion
  T* covariances;  // [n, 6]; off-diagonal entries include both symmetric elements
  T* opacities;    // [n]

  template <class Visit>
  void each_field(Visit&& visit) {
    visit("features", features), visit("means", means), visit("means2d", means2d), visit("scales", scales);
    visit("rotations", rotations), visit("covariances", covariances), visit("opacities", opacities);
  }

  bool geometry() const { return means || means2d || scales || rotations || covariances || opacities; }
};

// Integer pixel labels at several levels (such as segmentation scales).
struct LabelMaps {
  int64_t levels;         // L, at least 1
  const int32_t* labels;  // [L, H, W]; negative means none
  bool centres_only;      // count only the pixel that contains a Gaussian's projected centre
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("levels", levels), visit("labels", labels), visit("centres_only", centres_only);
  }
};

// Blending weights summed over the pixels with a label, and over those without.
template <class T>
struct LabelTotals {
  T* labelled;    // [L, n]
  T* unlabelled;  // [L, n]
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("labelled", labelled), visit("unlabelled", unlabelled);
  }
};

// The positive weight sums of one level, sorted by Gaussian, then by label.
template <class T>
struct LiftedRows {
  int64_t count = 0;
  int64_t* gaussians = nullptr;  // [count]
  int32_t* labels = nullptr;     // [count]
  T* weights = nullptr;          // [count]
};

// The tiles of an image split into regions, over which the CUDA backend sums.
struct RegionMap {
  const int32_t* regions;        // [H, W] region of each pixel, numbered within its tile
  const int32_t* region_counts;  // [tiles]
  const int64_t* sum_begin;      // [tiles] first sum of each tile, a matrix [pairs of the tile, regions of the tile]
  template <class Visit>
  void each_field(Visit&& visit) {
    visit("regions", regions), visit("region_counts", region_counts), visit("sum_begin", sum_begin);
  }
};

// A view with projection, depth order and tile lists computed. The memory layout behind `data` is private to the
// backend.
struct Prepared {
  void* data;  // from the state allocator; on the device for CUDA
  int64_t bytes;
  int64_t num_visible;  // Gaussians that are not culled
  int64_t num_pairs;    // (Gaussian, tile) pairs
  // Output of cpu::keep_weights or cuda::keep_lists for this view, or null. With it, passes without geometry evaluate
  // no alpha (CPU), or only for splats that some pixel of the block needs (CUDA).
  const void* weights = nullptr;
  // CPU, float, passes without geometry: blend features with weights rounded to 16 bits, also when evaluating them.
  // `weights` then holds 16-bit weights. Alpha and depth stay exact.
  bool half_weights = false;

  template <class Visit>
  void each_field(Visit&& visit) {
    visit("data", data), visit("bytes", bytes), visit("num_visible", num_visible), visit("num_pairs", num_pairs);
    visit("weights", weights), visit("half_weights", half_weights);
  }
};

// The caller owns the memory: state outlives the call, scratch is freed when the call returns. Returns at least 64-byte
// aligned memory or throws; must not be called from inside a parallel region.
struct Allocator {
  void* context;
  void* (*allocate)(void* context, size_t bytes);
};

struct Execution {
  int threads;   // CPU threads, at least 1
  int device;    // CUDA device ordinal
  void* stream;  // cudaStream_t
};

}  // namespace gaussian
