// Selection of the instruction set, spherical harmonics, and the check for finite values.
#include "../backend.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "../spherical_harmonics.h"
#include "finite.h"
#include "parallel.h"
#include "view_kernels.h"

namespace gaussian::cpu {
namespace {

struct InstructionSet {
  const char* name;
  const TileKernels<float>* tiles;
  const ViewKernels<float>* views;
};

// Instruction sets that were built and that the processor supports, fastest first.
std::vector<InstructionSet> available() {
  std::vector<InstructionSet> sets;
#ifdef GAUSSIAN_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (avx512) sets.push_back({"avx512", &avx512_kernels(), &avx512_view_kernels()});
  if (avx2) sets.push_back({"avx2", &avx2_kernels(), &avx2_view_kernels()});
#elif defined(GAUSSIAN_ARM64)
  sets.push_back({"neon", &neon_kernels(), &neon_view_kernels()});
#endif
  sets.push_back({"scalar", &scalar_kernels<float>(), &scalar_view_kernels<float>()});
  return sets;
}

const std::vector<InstructionSet>& sets() {
  static const std::vector<InstructionSet> all = available();
  return all;
}

const InstructionSet* find(const char* name) {
  for (const InstructionSet& set : sets())
    if (std::strcmp(set.name, name) == 0) return &set;
  return nullptr;
}

// The initial set is DIFF_GAUSSIAN_RASTERIZATION_ISA if that is given, else the fastest.
std::atomic<const InstructionSet*>& current() {
  static std::atomic<const InstructionSet*> set{[] {
    const char* name = std::getenv("DIFF_GAUSSIAN_RASTERIZATION_ISA");
    if (!name || !*name) return &sets().front();
    if (const InstructionSet* wanted = find(name)) return wanted;
    std::string available;
    for (const InstructionSet& set : sets()) available += std::string(" ") + set.name;
    throw std::invalid_argument("DIFF_GAUSSIAN_RASTERIZATION_ISA is " + std::string(name) +
                                "; this build has on this processor:" + available);
  }()};
  return set;
}

constexpr int64_t kGrain = 4096;

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : sets()) names.push_back(set.name);
  return names;
}
const char* instruction_set() { return current().load()->name; }
void use_instruction_set(const std::string& name) {
  const InstructionSet* set = find(name.c_str());
  if (!set) throw std::invalid_argument("this processor or this build has no " + name);
  current() = set;
}

template <>
const TileKernels<float>& kernels<float>() {
  return *current().load()->tiles;
}
template <>
const TileKernels<double>& kernels<double>() {
  return scalar_kernels<double>();
}

template <>
const ViewKernels<float>& view_kernels<float>() {
  return *current().load()->views;
}
template <>
const ViewKernels<double>& view_kernels<double>() {
  return scalar_view_kernels<double>();
}

template <class T>
void evaluate_sh(const Harmonics<T>& sh, T* colors, const Execution& execution) {
  const int terms = (sh.degree + 1) * (sh.degree + 1);
  parallel_ranges(execution.threads, sh.count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T direction[3], basis[16];
      view_direction(sh.means + 3 * i, sh.camera_center, direction);
      sh_basis(sh.degree, direction[0], direction[1], direction[2], basis);
      const T* coefficients = sh.coefficients + 3 * sh.stride * i;
      T sum[3] = {T(0.5), T(0.5), T(0.5)};
      for (int k = 0; k < terms; ++k)
        for (int c = 0; c < 3; ++c) sum[c] += basis[k] * coefficients[3 * k + c];
      for (int c = 0; c < 3; ++c) colors[3 * i + c] = larger(sum[c], T(0));
    }
  });
}

template <class T>
void evaluate_sh_backward(const Harmonics<T>& sh, const T* colors, const T* grad_colors,
                          const HarmonicsGradients<T>& grads, const Execution& execution) {
  const int terms = (sh.degree + 1) * (sh.degree + 1);
  parallel_ranges(execution.threads, sh.count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T direction[3], basis[16], grad[3];
      for (int c = 0; c < 3; ++c) grad[c] = colors[3 * i + c] > 0 ? grad_colors[3 * i + c] : T(0);
      const T inverse = view_direction(sh.means + 3 * i, sh.camera_center, direction);
      if (grads.coefficients) {
        sh_basis(sh.degree, direction[0], direction[1], direction[2], basis);
        T* out = grads.coefficients + 3 * sh.stride * i;
        for (int k = 0; k < terms; ++k)
          for (int c = 0; c < 3; ++c) out[3 * k + c] = basis[k] * grad[c];
        std::fill(out + 3 * terms, out + 3 * sh.stride, T(0));
      }
      if (grads.means) {
        T weight[16], along[3];
        const T* coefficients = sh.coefficients + 3 * sh.stride * i;
        for (int k = 0; k < terms; ++k) weight[k] = dot3(coefficients + 3 * k, grad);
        sh_basis_backward(sh.degree, direction[0], direction[1], direction[2], weight, along);
        const T radial = dot3(along, direction);  // moving along the ray does not change the direction
        for (int c = 0; c < 3; ++c) grads.means[3 * i + c] = inverse * (along[c] - radial * direction[c]);
      }
    }
  });
}

template <class T>
int64_t first_nonfinite(const T* values, int64_t count, const Execution& execution) {
  constexpr int64_t kPiece = int64_t(1) << 16;
  std::atomic<int64_t> first{std::numeric_limits<int64_t>::max()};
  parallel_ranges(execution.threads, count, kPiece, [&](int64_t begin, int64_t end, int) {
    if (all_finite(values + begin, end - begin)) return;
    int64_t found = begin;
    while (finite(values[found])) ++found;
    int64_t known = first.load();
    while (found < known && !first.compare_exchange_weak(known, found)) {
    }
  });
  return first.load() == std::numeric_limits<int64_t>::max() ? -1 : first.load();
}

template void evaluate_sh(const Harmonics<float>&, float*, const Execution&);
template void evaluate_sh(const Harmonics<double>&, double*, const Execution&);
template void evaluate_sh_backward(const Harmonics<float>&, const float*, const float*,
                                   const HarmonicsGradients<float>&, const Execution&);
template void evaluate_sh_backward(const Harmonics<double>&, const double*, const double*,
                                   const HarmonicsGradients<double>&, const Execution&);
template int64_t first_nonfinite(const float*, int64_t, const Execution&);
template int64_t first_nonfinite(const double*, int64_t, const Execution&);

}  // namespace gaussian::cpu
