// Mean squared distance of every point to its k nearest other points, on CUDA. Plain pointers, no torch.
#pragma once

#include <cstdint>

namespace simple_knn {

constexpr int kFanOut = 32;    // children per box and points per leaf: one per lane of a warp
constexpr int kMaxLevels = 7;  // 32^7 exceeds any 32-bit number of points
constexpr int kMaxNeighbours = 32;

// A 32-ary tree of boxes over points in Morton order; see simple_knn/morton.py. All pointers are device memory.
struct BoxTree {
  const float* points;   // [num_points, 3]
  const int64_t* order;  // [num_points] index of each point in the caller's order
  const float* boxes;    // [sum of level_size, 6] lower and upper corners, leaves first
  int num_points;
  int num_levels;
  int level_size[kMaxLevels];
  int level_start[kMaxLevels];
};

// Writes result[order[i]] for every point; num_neighbours is at most kMaxNeighbours and less than num_points. `stream`
// is a cudaStream_t of `device`. Throws std::runtime_error when the launch fails.
void mean_squared_distance(const BoxTree& tree, int num_neighbours, float* result, int device, void* stream);

}  // namespace simple_knn
