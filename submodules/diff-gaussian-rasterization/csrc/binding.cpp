// The extension module `_C`. The Python caller has checked shapes, types and devices, and keeps the tensors alive.
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "backend.h"
#include "build_record.h"
#include "python_values.h"

namespace nb = nanobind;
using namespace gaussian;
using namespace gaussian::python;

namespace {

#ifdef GAUSSIAN_CUDA
#define ON_CUDA(call) return cuda::call
#else
#define ON_CUDA(call)                                                                              \
  throw std::runtime_error(                                                                        \
      "diff_gaussian_rasterization was built without CUDA. Put nvcc (CUDA 11.8 or later) on PATH " \
      "and run: pip install --force-reinstall --no-deps ./submodules/diff-gaussian-rasterization")
#endif

// Calls run(T()) with the floating-point type of the target.
template <class Run>
auto with_type(const Target& target, const Run& run) {
  return target.is_double ? run(double()) : run(float());
}

// Calls `call` of the backend that `target` names, for the type T, without the interpreter lock.
#define ON_BACKEND(target, call)          \
  nb::gil_scoped_release unlocked;        \
  if constexpr (std::is_same_v<T, float>) \
    if ((target).cuda) ON_CUDA(call);     \
  return cpu::call

// `counts` gets the numbers of visible Gaussians and of pairs; `state` is called once to allocate.
void prepare(const Target& target, const View& view, const nb::dict& gaussians, Address radii, Address counts,
             const nb::callable& state, const nb::object& scratch) {
  Scratch temporary(scratch);
  const Prepared prepared = with_type(target, [&](auto type) {
    using T = decltype(type);
    const auto camera = camera_of<T>(view);
    const auto given = read<Gaussians<T>>(gaussians);
    const Allocator kept = python_memory(state), dropped = temporary.allocator();
    ON_BACKEND(target, prepare(camera, given, pointer<int32_t>(radii), kept, dropped, target.execution()));
  });
  pointer<int64_t>(counts)[0] = prepared.num_visible;
  pointer<int64_t>(counts)[1] = prepared.num_pairs;
}

void blend(const Target& target, const View& view, const nb::dict& prepared, const nb::dict& features,
           const nb::dict& images, const nb::object& scratch) {
  Scratch temporary(scratch);
  with_type(target, [&](auto type) {
    using T = decltype(type);
    const auto camera = camera_of<T>(view);
    const auto given = read<Prepared>(prepared);
    const auto values = read<Features<T>>(features);
    const auto out = read<Images<T>>(images);
    ON_BACKEND(target, blend(camera, given, values, out, temporary.allocator(), target.execution()));
  });
}

void blend_backward(const Target& target, const View& view, const nb::dict& gaussians, const nb::dict& prepared,
                    const nb::dict& features, const nb::dict& image_gradients, const nb::dict& gradients,
                    const nb::object& scratch) {
  Scratch temporary(scratch);
  with_type(target, [&](auto type) {
    using T = decltype(type);
    const auto camera = camera_of<T>(view);
    const auto geometry = read<Gaussians<T>>(gaussians);
    const auto given = read<Prepared>(prepared);
    const auto values = read<Features<T>>(features);
    const auto above = read<ImageGradients<T>>(image_gradients);
    const auto out = read<Gradients<T>>(gradients);
    ON_BACKEND(target,
               blend_backward(camera, geometry, given, values, above, out, temporary.allocator(), target.execution()));
  });
}

std::vector<int64_t> weight_places(const Target& target, const nb::dict& prepared) {
  const auto view = read<Prepared>(prepared);
  nb::gil_scoped_release unlocked;
  return cpu::weight_places(view, target.execution());
}

void keep_weights(const Target& target, const nb::dict& prepared, const std::vector<int64_t>& places, Address memory) {
  const auto view = read<Prepared>(prepared);
  nb::gil_scoped_release unlocked;
  cpu::keep_weights(view, places, pointer<void>(memory), target.execution());
}

void keep_lists([[maybe_unused]] const Target& target, [[maybe_unused]] const View& view,
                [[maybe_unused]] const nb::dict& prepared, [[maybe_unused]] const nb::callable& memory,
                [[maybe_unused]] const nb::callable& scratch) {
#ifdef GAUSSIAN_CUDA
  const auto camera = camera_of<float>(view);
  const auto given = read<Prepared>(prepared);
  nb::gil_scoped_release unlocked;
#endif
  ON_CUDA(keep_lists(camera, given, python_memory(memory), python_memory(scratch), target.execution()));
}

// Returns the number of rows of each level; its gaussians, labels and weights are three allocations of `results`.
std::vector<int64_t> lift(const Target& target, const nb::dict& prepared, const nb::dict& label_maps,
                          const nb::dict& totals, const nb::callable& results) {
  const auto view = read<Prepared>(prepared);
  const auto maps = read<LabelMaps>(label_maps);
  Scratch temporary{nb::none()};
  std::vector<int64_t> counts;
  with_type(target, [&](auto type) {
    const auto sums = read<LabelTotals<decltype(type)>>(totals);
    const Allocator kept = python_memory(results);
    nb::gil_scoped_release unlocked;
    for (const auto& rows : cpu::lift(view, maps, sums, kept, temporary.allocator(), target.execution()))
      counts.push_back(rows.count);
  });
  return counts;
}

void list_pairs([[maybe_unused]] const Target& target, [[maybe_unused]] const View& view,
                [[maybe_unused]] const nb::dict& prepared, [[maybe_unused]] Address tile_begin,
                [[maybe_unused]] Address gaussians) {
  ON_CUDA(list_pairs(camera_of<float>(view), read<Prepared>(prepared), pointer<int64_t>(tile_begin),
                     pointer<int64_t>(gaussians), target.execution()));
}

void sum_regions([[maybe_unused]] const Target& target, [[maybe_unused]] const View& view,
                 [[maybe_unused]] const nb::dict& prepared, [[maybe_unused]] const nb::dict& regions,
                 [[maybe_unused]] bool centres_only, [[maybe_unused]] Address sums) {
  ON_CUDA(sum_regions(camera_of<float>(view), read<Prepared>(prepared), read<RegionMap>(regions), centres_only,
                      pointer<float>(sums), target.execution()));
}

void evaluate_sh(const Target& target, const nb::dict& harmonics, Address colors) {
  with_type(target, [&](auto type) {
    using T = decltype(type);
    const auto given = read<Harmonics<T>>(harmonics);
    ON_BACKEND(target, evaluate_sh(given, pointer<T>(colors), target.execution()));
  });
}

void evaluate_sh_backward(const Target& target, const nb::dict& harmonics, Address colors, Address grad_colors,
                          const nb::dict& gradients) {
  with_type(target, [&](auto type) {
    using T = decltype(type);
    const auto given = read<Harmonics<T>>(harmonics);
    const auto out = read<HarmonicsGradients<T>>(gradients);
    ON_BACKEND(target, evaluate_sh_backward(given, pointer<const T>(colors), pointer<const T>(grad_colors), out,
                                            target.execution()));
  });
}

int64_t first_nonfinite(const Target& target, Address values, int64_t count) {
  return with_type(target, [&](auto type) {
    nb::gil_scoped_release unlocked;
    return cpu::first_nonfinite(pointer<const decltype(type)>(values), count, target.execution());
  });
}

Address pinned_reports([[maybe_unused]] const Target& target, [[maybe_unused]] int64_t count) {
  ON_CUDA(pinned_reports(count, target.execution()));
}

// Per tensor: address of its values, their number, address of its report.
using Watched = std::tuple<Address, int64_t, Address>;
void watch_nonfinite([[maybe_unused]] const Target& target, [[maybe_unused]] const std::vector<Watched>& watched) {
#ifdef GAUSSIAN_CUDA
  std::vector<cuda::WatchedTensor> tensors;
  for (const auto& [values, count, report] : watched)
    tensors.push_back({pointer<const float>(values), count, pointer<uint64_t>(report)});
#endif
  ON_CUDA(watch_nonfinite(tensors, target.execution()));
}

// Per tile: pairs, evaluations of alpha, blends.
std::vector<std::tuple<int64_t, int64_t, int64_t>> measure_work(const nb::dict& prepared) {
  std::vector<std::tuple<int64_t, int64_t, int64_t>> tiles;
  for (const cpu::Work& tile : cpu::measure_work(read<Prepared>(prepared)))
    tiles.emplace_back(tile.pairs, tile.evaluations, tile.blends);
  return tiles;
}

}  // namespace

NB_MODULE(_C, m) {
  nb::class_<Target>(m, "Target")
      .def("__init__", [](Target* self, bool cuda, bool is_double, int threads, int device, Address stream) {
        new (self) Target{cuda, is_double, threads, device, stream};
      });
  m.def("prepare", prepare, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("blend", blend, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("blend_backward", blend_backward, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
        nb::arg().none());
  m.def("weight_places", weight_places);
  m.def("keep_weights", keep_weights);
  m.def("keep_lists", keep_lists);
  m.def("lift", lift);
  m.def("list_pairs", list_pairs);
  m.def("sum_regions", sum_regions);
  m.def("evaluate_sh", evaluate_sh);
  m.def("evaluate_sh_backward", evaluate_sh_backward);
  m.def("first_nonfinite", first_nonfinite);
  m.def("pinned_reports", pinned_reports);
  m.def("watch_nonfinite", watch_nonfinite);
  m.def("measure_work", measure_work);
  m.def("instruction_sets", cpu::instruction_sets);
  m.def("use_instruction_set", cpu::use_instruction_set);
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
