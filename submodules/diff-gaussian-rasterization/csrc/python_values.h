// Python values as the structs of types.h: dicts of tensors and numbers with the field names of types.h, tuples for
// cameras, functions that allocate.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/tuple.h>

#include <array>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <vector>

#include "cpu/parallel.h"
#include "types.h"

namespace gaussian::python {

namespace nb = nanobind;

using Address = uintptr_t;  // of a tensor's first element; 0 means null

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

// Converts a tensor to its data pointer, None to null.
template <class T>
void read(nb::handle value, T*& field) {
  static PyObject* const data_ptr = PyUnicode_InternFromString("data_ptr");
  field = value.is_none() ? nullptr : pointer<T>(nb::cast<Address>(value.attr(nb::handle(data_ptr))()));
}
template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
void read(nb::handle value, T& field) {
  using Given = std::conditional_t<std::is_floating_point_v<T>, double, T>;
  field = T(nb::cast<Given>(value));
}
template <class T, size_t kLength>
void read(nb::handle value, T (&field)[kLength]) {
  const auto numbers = nb::cast<std::array<double, kLength>>(value);
  for (size_t i = 0; i < kLength; ++i) field[i] = T(numbers[i]);
}

// The names of a struct's fields as Python strings that the keys of dicts are identical to: found without comparing
// text.
template <class Struct>
const std::vector<PyObject*>& field_names() {
  static const std::vector<PyObject*> names = [] {
    std::vector<PyObject*> out;
    Struct().each_field([&](const char* name, auto&) { out.push_back(PyUnicode_InternFromString(name)); });
    return out;
  }();
  return names;
}

// Fills a struct from a dict; missing fields are zero.
template <class Struct>
Struct read(const nb::dict& given) {
  Struct out{};
  size_t known = 0;
  auto name = field_names<Struct>().begin();
  out.each_field([&](const char*, auto& field) {
    const nb::handle value = PyDict_GetItem(given.ptr(), *name++);  // borrowed; null if missing
    if (!value.is_valid()) return;
    read(value, field);
    ++known;
  });
  if (known != given.size()) throw std::invalid_argument("a field of this name does not exist");
  return out;
}

// Orthonormal rows; the bounds on projected sizes require them.
inline bool is_rotation(const double* rotation) {
  for (int a = 0; a < 3; ++a) {
    double length2 = 0, product = 0;
    for (int k = 0; k < 3; ++k) {
      length2 += rotation[3 * a + k] * rotation[3 * a + k];
      product += rotation[3 * a + k] * rotation[3 * ((a + 1) % 3) + k];
    }
    if (!(length2 > 0.999 && length2 < 1.001 && product > -1e-3 && product < 1e-3)) return false;
  }
  return true;
}

// A view: rotation (row-major), translation, fx, fy, cx, cy; width; height.
using View = std::tuple<std::array<double, 16>, int32_t, int32_t>;

template <class T>
Camera<T> camera_of(const View& view) {
  const auto& [numbers, width, height] = view;
  Camera<T> out{};
  for (int i = 0; i < 9; ++i) out.rotation[i] = T(numbers[i]);
  for (int i = 0; i < 3; ++i) out.translation[i] = T(numbers[9 + i]);
  out.fx = T(numbers[12]), out.fy = T(numbers[13]), out.cx = T(numbers[14]), out.cy = T(numbers[15]);
  out.tan_x = T(width / (2 * numbers[12])), out.tan_y = T(height / (2 * numbers[13]));
  out.width = width, out.height = height;
  out.rigid = is_rotation(numbers.data());
  return out;
}

// Where a call runs.
struct Target {
  bool cuda, is_double;
  int threads, device;
  Address stream;
  Execution execution() const { return {threads < 1 ? 1 : threads, device, pointer<void>(stream)}; }
};

// Allocator over a Python function bytes -> address. Acquires the interpreter lock, so callers need not hold it.
inline Allocator python_memory(const nb::object& function) {
  return {function.ptr(), [](void* context, size_t bytes) {
            nb::gil_scoped_acquire lock;
            const nb::handle call(static_cast<PyObject*>(context));
            return pointer<void>(nb::cast<Address>(call(bytes)));
          }};
}

// Scratch memory of one call: from torch on CUDA, from C++ on the CPU, where a call into Python would cost more.
class Scratch {
 public:
  explicit Scratch(const nb::object& function) : function_(function) {}
  Allocator allocator() {
    if (!function_.is_none()) return python_memory(function_);
    return {this, [](void* context, size_t bytes) -> void* {
              auto& blocks = static_cast<Scratch*>(context)->blocks_;
              blocks.emplace_back(bytes);
              return blocks.back().get();
            }};
  }

 private:
  nb::object function_;
  std::vector<cpu::Buffer<char>> blocks_;
};

}  // namespace gaussian::python
