// The extension module `_C`. Tensors cross as addresses; the Python side has checked their shape, type and device.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "backend.h"
#include "build_record.h"

namespace nb = nanobind;
using namespace gaussian;

namespace {

using Address = uintptr_t;  // of a tensor's first element; 0 for none

// Untyped twins of the structs in types.h, filled by Python.
struct PyCamera {
  std::array<double, 9> rotation{};
  std::array<double, 3> translation{};
  double fx = 1, fy = 1, cx = 0, cy = 0;
  int32_t width = 0, height = 0;

  template <class T>
  Camera<T> typed() const {
    Camera<T> out{};
    for (int i = 0; i < 9; ++i) out.rotation[i] = T(rotation[i]);
    for (int i = 0; i < 3; ++i) out.translation[i] = T(translation[i]);
    out.fx = T(fx), out.fy = T(fy), out.cx = T(cx), out.cy = T(cy);
    out.tan_x = T(width / (2 * fx)), out.tan_y = T(height / (2 * fy));
    out.width = width, out.height = height;
    out.rigid = is_rotation();
    return out;
  }

  // Rows of unit length: what bounds on projected sizes rest on.
  bool is_rotation() const {
    for (int row = 0; row < 3; ++row) {
      double length2 = 0;
      for (int k = 0; k < 3; ++k) length2 += rotation[3 * row + k] * rotation[3 * row + k];
      if (!(length2 > 0.999 && length2 < 1.001)) return false;
    }
    for (int a = 0; a < 3; ++a) {
      double product = 0;
      for (int k = 0; k < 3; ++k) product += rotation[3 * a + k] * rotation[3 * ((a + 1) % 3) + k];
      if (!(product > -1e-3 && product < 1e-3)) return false;
    }
    return true;
  }
};

struct PyGaussians {
  int64_t count = 0;
  Address means = 0, scales = 0, rotations = 0, covariances = 0, opacities = 0;
  double scale_modifier = 1;
  bool antialiasing = false;

  template <class T>
  Gaussians<T> typed() const {
    const auto at = [](Address a) { return reinterpret_cast<const T*>(a); };
    return {count,           at(means),     at(scales),        at(rotations),
            at(covariances), at(opacities), T(scale_modifier), antialiasing};
  }
};

struct PyFeatures {
  int64_t channels = 0;
  Address values = 0, background = 0;

  template <class T>
  Features<T> typed() const {
    return {channels, reinterpret_cast<const T*>(values), reinterpret_cast<const T*>(background)};
  }
};

struct PyImages {
  Address image = 0, alpha = 0, depth = 0;

  template <class Struct, class Pointer>
  Struct typed() const {
    return {reinterpret_cast<Pointer>(image), reinterpret_cast<Pointer>(alpha), reinterpret_cast<Pointer>(depth)};
  }
};

struct PyGradients {
  Address features = 0, means = 0, means2d = 0, scales = 0, rotations = 0, covariances = 0, opacities = 0;

  template <class T>
  Gradients<T> typed() const {
    const auto at = [](Address a) { return reinterpret_cast<T*>(a); };
    return {at(features), at(means), at(means2d), at(scales), at(rotations), at(covariances), at(opacities)};
  }
};

struct PyPrepared {
  Address data = 0;
  int64_t bytes = 0, num_visible = 0, num_pairs = 0;
  Address weights = 0;
  Prepared typed() const {
    return {reinterpret_cast<void*>(data), bytes, num_visible, num_pairs, reinterpret_cast<const void*>(weights)};
  }
};

// Where a call runs: "cpu" or "cuda", float or double.
struct Target {
  bool cuda = false, is_double = false;
  int threads = 1, device = 0;
  Address stream = 0;
  Execution execution() const { return {threads < 1 ? 1 : threads, device, reinterpret_cast<void*>(stream)}; }
};

// Calls a Python function bytes -> address. Also from code that runs without the interpreter lock.
void* allocate_in_python(void* context, size_t bytes) {
  nb::gil_scoped_acquire lock;
  const nb::handle function(static_cast<PyObject*>(context));
  return reinterpret_cast<void*>(nb::cast<Address>(function(bytes)));
}

Allocator allocator(const nb::callable& function) { return {function.ptr(), allocate_in_python}; }

#ifdef GAUSSIAN_CUDA
#define ON_CUDA(call) return cuda::call
#else
#define ON_CUDA(call)                                                                              \
  throw std::runtime_error(                                                                        \
      "diff_gaussian_rasterization was built without CUDA. Put nvcc (CUDA 11.8 or later) on PATH " \
      "and run: pip install --force-reinstall --no-deps ./submodules/diff-gaussian-rasterization")
#endif

// Runs `call` of the backend that `target` names with T as its type.
#define DISPATCH(target, call)       \
  do {                               \
    if ((target).cuda) {             \
      using T = float;               \
      ON_CUDA(call);                 \
    } else if ((target).is_double) { \
      using T = double;              \
      return cpu::call;              \
    } else {                         \
      using T = float;               \
      return cpu::call;              \
    }                                \
  } while (false)

Prepared prepare_on(const Target& target, const PyCamera& camera, const PyGaussians& gaussians, Address radii,
                    Allocator state, Allocator scratch) {
  DISPATCH(target, prepare(camera.typed<T>(), gaussians.typed<T>(), reinterpret_cast<int32_t*>(radii), state, scratch,
                           target.execution()));
}

PyPrepared prepare(const Target& target, const PyCamera& camera, const PyGaussians& gaussians, Address radii,
                   const nb::callable& state, const nb::callable& scratch) {
  nb::gil_scoped_release unlocked;
  const Prepared out = prepare_on(target, camera, gaussians, radii, allocator(state), allocator(scratch));
  return {reinterpret_cast<Address>(out.data), out.bytes, out.num_visible, out.num_pairs, 0};
}

void blend(const Target& target, const PyCamera& camera, const PyPrepared& prepared, const PyFeatures& features,
           const PyImages& images, const nb::callable& scratch) {
  nb::gil_scoped_release unlocked;
  DISPATCH(target, blend(camera.typed<T>(), prepared.typed(), features.typed<T>(), images.typed<Images<T>, T*>(),
                         allocator(scratch), target.execution()));
}

void blend_backward(const Target& target, const PyCamera& camera, const PyGaussians& gaussians,
                    const PyPrepared& prepared, const PyFeatures& features, const PyImages& image_gradients,
                    const PyGradients& gradients, const nb::callable& scratch) {
  nb::gil_scoped_release unlocked;
  DISPATCH(target, blend_backward(camera.typed<T>(), gaussians.typed<T>(), prepared.typed(), features.typed<T>(),
                                  image_gradients.typed<ImageGradients<T>, const T*>(), gradients.typed<T>(),
                                  allocator(scratch), target.execution()));
}

std::vector<int64_t> weight_places(const Target& target, const PyPrepared& prepared) {
  nb::gil_scoped_release unlocked;
  return cpu::weight_places(prepared.typed(), target.execution());
}

void keep_weights(const Target& target, const PyPrepared& prepared, const std::vector<int64_t>& places,
                  Address memory) {
  nb::gil_scoped_release unlocked;
  cpu::keep_weights(prepared.typed(), places, reinterpret_cast<void*>(memory), target.execution());
}

// The number of rows of each level; their gaussians, labels and weights are three blocks of `results`.
std::vector<int64_t> lift(const Target& target, const PyPrepared& prepared, int64_t levels, Address labels,
                          bool centres_only, Address labelled, Address unlabelled, const nb::callable& results,
                          const nb::callable& scratch) {
  nb::gil_scoped_release unlocked;
  const LabelMaps maps{levels, reinterpret_cast<const int32_t*>(labels), centres_only};
  std::vector<int64_t> counts;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const LabelTotals<T> totals{reinterpret_cast<T*>(labelled), reinterpret_cast<T*>(unlabelled)};
    for (const auto& rows : cpu::lift(prepared.typed(), maps, totals, allocator(results), allocator(scratch),
                                      target.execution()))
      counts.push_back(rows.count);
  };
  target.is_double ? run(double()) : run(float());
  return counts;
}

void list_pairs([[maybe_unused]] const Target& target, [[maybe_unused]] const PyCamera& camera,
                [[maybe_unused]] const PyPrepared& prepared, [[maybe_unused]] Address tile_begin,
                [[maybe_unused]] Address gaussians) {
  ON_CUDA(list_pairs(camera.typed<float>(), prepared.typed(), reinterpret_cast<int64_t*>(tile_begin),
                     reinterpret_cast<int64_t*>(gaussians), target.execution()));
}

void sum_regions([[maybe_unused]] const Target& target, [[maybe_unused]] const PyCamera& camera,
                 [[maybe_unused]] const PyPrepared& prepared, [[maybe_unused]] Address regions,
                 [[maybe_unused]] Address region_counts, [[maybe_unused]] Address sum_begin,
                 [[maybe_unused]] bool centres_only, [[maybe_unused]] Address sums) {
  ON_CUDA(sum_regions(camera.typed<float>(), prepared.typed(),
                      {reinterpret_cast<const int32_t*>(regions), reinterpret_cast<const int32_t*>(region_counts),
                       reinterpret_cast<const int64_t*>(sum_begin)},
                      centres_only, reinterpret_cast<float*>(sums), target.execution()));
}

struct PyHarmonics {
  int64_t count = 0, stride = 0;
  int degree = 0;
  Address means = 0, coefficients = 0;
  std::array<double, 3> camera_center{};

  template <class T>
  Harmonics<T> typed() const {
    return {count,
            stride,
            degree,
            reinterpret_cast<const T*>(means),
            reinterpret_cast<const T*>(coefficients),
            {T(camera_center[0]), T(camera_center[1]), T(camera_center[2])}};
  }
};

void evaluate_sh(const Target& target, const PyHarmonics& sh, Address colors) {
  nb::gil_scoped_release unlocked;
  DISPATCH(target, evaluate_sh(sh.typed<T>(), reinterpret_cast<T*>(colors), target.execution()));
}

void evaluate_sh_backward(const Target& target, const PyHarmonics& sh, Address colors, Address grad_colors,
                          Address grad_means, Address grad_coefficients) {
  nb::gil_scoped_release unlocked;
  DISPATCH(target, evaluate_sh_backward(
                       sh.typed<T>(), reinterpret_cast<const T*>(colors), reinterpret_cast<const T*>(grad_colors),
                       HarmonicsGradients<T>{reinterpret_cast<T*>(grad_means), reinterpret_cast<T*>(grad_coefficients)},
                       target.execution()));
}

int64_t first_nonfinite(const Target& target, Address values, int64_t count) {
  nb::gil_scoped_release unlocked;
  if (target.is_double) return cpu::first_nonfinite(reinterpret_cast<const double*>(values), count, target.execution());
  return cpu::first_nonfinite(reinterpret_cast<const float*>(values), count, target.execution());
}

Address pinned_reports([[maybe_unused]] const Target& target, [[maybe_unused]] int64_t count) {
  ON_CUDA(pinned_reports(count, target.execution()));
}

// Of each tensor the address of its values, their number, the address of its report.
using Watched = std::tuple<Address, int64_t, Address>;
void watch_nonfinite([[maybe_unused]] const Target& target, [[maybe_unused]] const std::vector<Watched>& watched) {
#ifdef GAUSSIAN_CUDA
  std::vector<cuda::WatchedTensor> tensors;
  for (const auto& [values, count, report] : watched)
    tensors.push_back({reinterpret_cast<const float*>(values), count, reinterpret_cast<uint64_t*>(report)});
#endif
  ON_CUDA(watch_nonfinite(tensors, target.execution()));
}

}  // namespace

NB_MODULE(_C, m) {
  nb::class_<Target>(m, "Target")
      .def(nb::init<>())
      .def_rw("cuda", &Target::cuda)
      .def_rw("is_double", &Target::is_double)
      .def_rw("threads", &Target::threads)
      .def_rw("device", &Target::device)
      .def_rw("stream", &Target::stream);
  nb::class_<PyCamera>(m, "Camera")
      .def(nb::init<>())
      .def_rw("rotation", &PyCamera::rotation)
      .def_rw("translation", &PyCamera::translation)
      .def_rw("fx", &PyCamera::fx)
      .def_rw("fy", &PyCamera::fy)
      .def_rw("cx", &PyCamera::cx)
      .def_rw("cy", &PyCamera::cy)
      .def_rw("width", &PyCamera::width)
      .def_rw("height", &PyCamera::height);
  nb::class_<PyGaussians>(m, "Gaussians")
      .def(nb::init<>())
      .def_rw("count", &PyGaussians::count)
      .def_rw("means", &PyGaussians::means)
      .def_rw("scales", &PyGaussians::scales)
      .def_rw("rotations", &PyGaussians::rotations)
      .def_rw("covariances", &PyGaussians::covariances)
      .def_rw("opacities", &PyGaussians::opacities)
      .def_rw("scale_modifier", &PyGaussians::scale_modifier)
      .def_rw("antialiasing", &PyGaussians::antialiasing);
  nb::class_<PyFeatures>(m, "Features")
      .def(nb::init<>())
      .def_rw("channels", &PyFeatures::channels)
      .def_rw("values", &PyFeatures::values)
      .def_rw("background", &PyFeatures::background);
  nb::class_<PyImages>(m, "Images")
      .def(nb::init<>())
      .def_rw("image", &PyImages::image)
      .def_rw("alpha", &PyImages::alpha)
      .def_rw("depth", &PyImages::depth);
  nb::class_<PyGradients>(m, "Gradients")
      .def(nb::init<>())
      .def_rw("features", &PyGradients::features)
      .def_rw("means", &PyGradients::means)
      .def_rw("means2d", &PyGradients::means2d)
      .def_rw("scales", &PyGradients::scales)
      .def_rw("rotations", &PyGradients::rotations)
      .def_rw("covariances", &PyGradients::covariances)
      .def_rw("opacities", &PyGradients::opacities);
  nb::class_<PyPrepared>(m, "Prepared")
      .def(nb::init<>())
      .def_rw("data", &PyPrepared::data)
      .def_rw("bytes", &PyPrepared::bytes)
      .def_rw("num_visible", &PyPrepared::num_visible)
      .def_rw("num_pairs", &PyPrepared::num_pairs)
      .def_rw("weights", &PyPrepared::weights);
  nb::class_<PyHarmonics>(m, "Harmonics")
      .def(nb::init<>())
      .def_rw("count", &PyHarmonics::count)
      .def_rw("stride", &PyHarmonics::stride)
      .def_rw("degree", &PyHarmonics::degree)
      .def_rw("means", &PyHarmonics::means)
      .def_rw("coefficients", &PyHarmonics::coefficients)
      .def_rw("camera_center", &PyHarmonics::camera_center);

  m.def("prepare", prepare);
  m.def("blend", blend);
  m.def("blend_backward", blend_backward);
  m.def("weight_places", weight_places);
  m.def("keep_weights", keep_weights);
  m.def("lift", lift);
  m.def("list_pairs", list_pairs);
  m.def("sum_regions", sum_regions);
  m.def("evaluate_sh", evaluate_sh);
  m.def("evaluate_sh_backward", evaluate_sh_backward);
  m.def("first_nonfinite", first_nonfinite);
  m.def("pinned_reports", pinned_reports);
  m.def("watch_nonfinite", watch_nonfinite);
  m.def("measure_work", [](const PyPrepared& prepared) {
    const cpu::Work work = cpu::measure_work(prepared.typed());
    return nb::make_tuple(work.evaluations, work.blends);
  });
  m.def("force_scalar", cpu::force_scalar);
  m.def("instruction_set", [] { return std::string(cpu::instruction_set()); });
  nb::dict build;
  build["cpu"] = GAUSSIAN_BUILT_CPU;
  build["openmp"] = GAUSSIAN_BUILT_OPENMP;
  build["cuda"] = GAUSSIAN_BUILT_CUDA;
  build["architectures"] = GAUSSIAN_BUILT_ARCHITECTURES;
  build["compiler"] = GAUSSIAN_BUILT_COMPILER;
  m.attr("build") = build;
  m.attr("has_cuda") = GAUSSIAN_BUILT_CUDA[0] != '\0';
}
