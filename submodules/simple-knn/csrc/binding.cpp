// Python binding of the CUDA search. Tensors are passed as addresses: simple_knn/__init__.py checks them and keeps them
// alive.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "mean_squared_distance.h"

namespace nb = nanobind;

namespace {

void mean_squared_distance(uintptr_t points, uintptr_t order, uintptr_t boxes, const std::vector<int>& level_sizes,
                           int num_points, int num_neighbours, uintptr_t result, int device, uintptr_t stream) {
  using simple_knn::kMaxLevels;
  if (level_sizes.empty() || level_sizes.size() > kMaxLevels || num_neighbours > simple_knn::kMaxNeighbours) {
    throw std::invalid_argument("simple_knn: " + std::to_string(level_sizes.size()) + " levels and " +
                                std::to_string(num_neighbours) + " neighbours are out of range");
  }
  simple_knn::BoxTree tree = {reinterpret_cast<const float*>(points), reinterpret_cast<const int64_t*>(order),
                              reinterpret_cast<const float*>(boxes), num_points, static_cast<int>(level_sizes.size())};
  int start = 0;
  for (int level = 0; level < tree.num_levels; ++level) {
    tree.level_size[level] = level_sizes[level];
    tree.level_start[level] = start;
    start += level_sizes[level];
  }
  simple_knn::mean_squared_distance(tree, num_neighbours, reinterpret_cast<float*>(result), device,
                                    reinterpret_cast<void*>(stream));
}

}  // namespace

NB_MODULE(_cuda, module) {
  module.def("mean_squared_distance", &mean_squared_distance, nb::call_guard<nb::gil_scoped_release>());
  nb::dict build;
  build["cuda"] = BUILT_CUDA;
  build["architectures"] = BUILT_ARCHITECTURES;
  module.attr("build") = build;
}
