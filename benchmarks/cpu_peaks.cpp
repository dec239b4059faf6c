// The roofs of cpu_roofline.py on one core: multiply-adds per second in registers, and bytes copied per second.
#include <chrono>
#include <cstddef>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
typedef float Lanes __attribute__((vector_size(4 * kLanes)));

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

// Operations per second: 10 independent chains hide the latency.
extern "C" double multiply_adds() {
  constexpr int kChains = 10, kRounds = 4000000;
  Lanes sums[kChains], factor = Lanes{} + 0.999f, term = Lanes{} + 0.001f;
  for (int i = 0; i < kChains; ++i) sums[i] = Lanes{} + float(i + 2);
  const double began = seconds();
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + term;
  }
  const double spent = seconds() - began;
  volatile float used = 0;
  for (const Lanes& sum : sums) used = used + sum[0];
  return 2.0 * kLanes * kChains * kRounds / spent;
}

// Bytes read and written per second.
extern "C" double copied_bytes() {
  constexpr size_t kBytes = size_t(256) << 20;
  static std::vector<char> from(kBytes, 1), to(kBytes, 2);
  const double began = seconds();
  std::memcpy(to.data(), from.data(), kBytes);
  return 2.0 * kBytes / (seconds() - began);
}
