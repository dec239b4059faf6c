#include <cuda_runtime.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "mean_squared_distance.h"

namespace simple_knn {
namespace {

constexpr unsigned kFullWarp = 0xffffffffu;
constexpr int kThreads = 128;

struct Box {
  float3 lower, upper;
};

__device__ Box load_box(const float* boxes, int64_t index) {
  const float* p = boxes + 6 * index;
  return {{p[0], p[1], p[2]}, {p[3], p[4], p[5]}};
}

__device__ float3 load_point(const BoxTree& tree, int index) {
  const float* p = tree.points + 3 * static_cast<int64_t>(index);
  return {p[0], p[1], p[2]};
}

// Squared distance between two boxes; 0 when they touch. A point is a box of zero size.
__device__ float squared_distance(const Box& a, const Box& b) {
  const float dx = fmaxf(fmaxf(a.lower.x - b.upper.x, b.lower.x - a.upper.x), 0.f);
  const float dy = fmaxf(fmaxf(a.lower.y - b.upper.y, b.lower.y - a.upper.y), 0.f);
  const float dz = fmaxf(fmaxf(a.lower.z - b.upper.z, b.lower.z - a.upper.z), 0.f);
  return dx * dx + dy * dy + dz * dz;
}

// The nearest squared distances of one thread, ascending, in registers. The slots beyond the k requested ones hold -1:
// they sort to the front, are never replaced, and keep the k-th distance in the last slot for any k.
template <int Capacity>
struct Nearest {
  float distance[Capacity];

  __device__ explicit Nearest(int k) {
#pragma unroll
    for (int i = 0; i < Capacity; ++i) distance[i] = i < Capacity - k ? -1.f : INFINITY;
  }
  __device__ float furthest() const { return distance[Capacity - 1]; }
  __device__ void insert(float candidate) {
    if (!(candidate < furthest())) return;
    distance[Capacity - 1] = candidate;
#pragma unroll
    for (int i = Capacity - 1; i > 0; --i) {
      const float low = fminf(distance[i - 1], distance[i]);
      distance[i] = fmaxf(distance[i - 1], distance[i]);
      distance[i - 1] = low;
    }
  }
  __device__ float mean(int k) const {
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < Capacity; ++i) sum += fmaxf(distance[i], 0.f);
    return sum / k;
  }
};

__device__ float warp_max(float value) {
#pragma unroll
  for (int step = kFanOut / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, step));
  return value;
}

// Every lane tests all points of one leaf.
template <int Capacity>
__device__ void visit_leaf(const BoxTree& tree, int leaf, int lane, int self, float3 query,
                           Nearest<Capacity>& nearest) {
  const int mine = leaf * kFanOut + lane;
  float3 point = {INFINITY, INFINITY, INFINITY};  // lanes beyond the last point use one that is never a neighbour
  if (mine < tree.num_points) point = load_point(tree, mine);
  for (int i = 0; i < kFanOut; ++i) {
    const float dx = __shfl_sync(kFullWarp, point.x, i) - query.x;
    const float dy = __shfl_sync(kFullWarp, point.y, i) - query.y;
    const float dz = __shfl_sync(kFullWarp, point.z, i) - query.z;
    if (leaf * kFanOut + i != self) nearest.insert(dx * dx + dy * dy + dz * dz);
  }
}

// One warp searches for the 32 points of one leaf: neighbours on the Morton curve visit nearly the same boxes. At every
// box the lanes test its 32 children at once against the leaf's box and the largest k-th distance of any lane.
template <int Capacity>
__global__ void __launch_bounds__(kThreads) mean_squared_distance_kernel(BoxTree tree, int k, float* result) {
  const int leaf = blockIdx.x * (kThreads / kFanOut) + threadIdx.x / kFanOut;
  const int lane = threadIdx.x % kFanOut;
  if (leaf >= tree.level_size[0]) return;
  const int self = leaf * kFanOut + lane;
  const int source = min(self, tree.num_points - 1);  // lanes beyond the last point repeat it, to keep the warp full
  const float3 query = load_point(tree, source);
  const Box query_box = {query, query};
  const Box leaf_box = load_box(tree.boxes, leaf);

  Nearest<Capacity> nearest(k);
  visit_leaf(tree, leaf, lane, source, query, nearest);  // first, so that the search starts with a small radius

  unsigned pending[kMaxLevels];  // per level, children of the current box still to visit
  int level = tree.num_levels - 1;
  int box = 0;  // of `level`; its group of 32 siblings is box / 32
  const auto open_group = [&](int group) {
    const int child = group * kFanOut + lane;
    const float radius = warp_max(nearest.furthest());
    const bool near = child < tree.level_size[level] &&
                      squared_distance(load_box(tree.boxes, tree.level_start[level] + child), leaf_box) < radius;
    pending[level] = __ballot_sync(kFullWarp, near);
    box = group * kFanOut;
  };
  open_group(0);
  while (level < tree.num_levels) {
    if (pending[level] == 0) {
      box /= kFanOut;
      ++level;
      continue;
    }
    const int child = __ffs(pending[level]) - 1;
    pending[level] &= pending[level] - 1;
    box = box / kFanOut * kFanOut + child;
    // The radius may have shrunk since the group was tested; now every lane also tests its own point.
    const float distance = squared_distance(load_box(tree.boxes, tree.level_start[level] + box), query_box);
    if (!__any_sync(kFullWarp, distance < nearest.furthest())) continue;
    if (level > 0) {
      --level;
      open_group(box);
    } else if (box != leaf) {
      visit_leaf(tree, box, lane, source, query, nearest);
    }
  }
  if (self < tree.num_points) result[tree.order[self]] = nearest.mean(k);
}

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("simple_knn: the CUDA search did not start: ") + cudaGetErrorString(error));
}

}  // namespace

void mean_squared_distance(const BoxTree& tree, int num_neighbours, float* result, int device, void* stream) {
  int current = 0;
  check(cudaGetDevice(&current));  // the caller made `device` current; setting it again could create a context
  if (current != device) check(cudaSetDevice(device));
  const int warps = kThreads / kFanOut;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3((tree.level_size[0] + warps - 1) / warps);
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  const auto kernel =
      num_neighbours <= 4 ? mean_squared_distance_kernel<4> : mean_squared_distance_kernel<kMaxNeighbours>;
  check(cudaLaunchKernelEx(&config, kernel, tree, num_neighbours, result));
}

}  // namespace simple_knn
