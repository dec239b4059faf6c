// Lifting: blending weights summed over regions of pixels. The caller splits every tile into regions of equal labels;
// a tile has one sum per (pair, region), to which its warps add atomically.
#include "../backend.h"
#include "device.h"
#include "front_to_back.h"

namespace gaussian::cuda {
namespace {

// The pixels of a block sorted by region, so that each region is a run of pixels.
struct PixelRuns {
  uint8_t pixels[kWarp];
  uint8_t end[kWarp];     // [runs]
  int32_t region[kWarp];  // [runs]
};

// Called by all lanes of the warp; `region` is -1 outside the image. Returns the number of runs.
__device__ __forceinline__ int sort_by_region(int region, int lane, PixelRuns& runs) {
  int count = 0, placed = 0;
  for (unsigned left = __ballot_sync(kFullWarp, region >= 0); left != 0; ++count) {
    const int value = __shfl_sync(kFullWarp, region, __ffs(static_cast<int>(left)) - 1);
    const unsigned equal = __ballot_sync(kFullWarp, region == value);
    if (region == value) runs.pixels[placed + __popc(equal & ((1u << lane) - 1))] = static_cast<uint8_t>(lane);
    placed += __popc(equal);
    if (lane == 0) {
      runs.end[count] = static_cast<uint8_t>(placed);
      runs.region[count] = value;
    }
    left &= ~equal;
  }
  __syncwarp();
  return count;
}

// Pixel of the block that contains the projected centre of a splat, or -1.
__device__ __forceinline__ int centre_pixel(const BlockSplat& s) {
  const float dy = -s.t2 / s.vy, dx = -(s.t1 + s.uy * dy) / s.ux;
  const float column = floorf(dx + 0.5f * kBlockWidth), row = floorf(dy + 0.5f * kBlockHeight);
  if (!(column >= 0.f && column < kBlockWidth && row >= 0.f && row < kBlockHeight)) return -1;
  return static_cast<int>(row) * kBlockWidth + static_cast<int>(column);
}

__global__ void __launch_bounds__(kGroupThreads)
    sum_regions_kernel(int width, int height, State state, RegionMap map, bool centres_only, float* sums) {
  __shared__ WarpStage<kRowStride> stages[kWarpsPerGroup];
  __shared__ PixelRuns run_stages[kWarpsPerGroup];
  WarpStage<kRowStride>& stage = stages[threadIdx.x / kWarp];
  PixelRuns& runs = run_stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int region = pixel.inside ? map.regions[pixel.index] : -1;
  const int run_count = sort_by_region(region, pixel.lane, runs);
  const int64_t stride = map.region_counts[pixel.tile];
  float* const tile_sums = sums + map.sum_begin[pixel.tile];
  // Two lanes for each of 16 splats.
  const int row = pixel.lane % kMmaRows, half = pixel.lane / kMmaRows;
  const float* const weights = stage.weights.values + row * kRowStride;

  FrontToBack pass(pixel);
  blend_by_warp(pass, state, pixel, false, stage, [&](int first, int count) {
    float* const pair_sums = tile_sums + stage.splats[first + row].position * stride;
    if (centres_only) {
      const int centre = first + row < count ? centre_pixel(stage.splats[first + row]) : -1;
      const int centre_region = __shfl_sync(kFullWarp, region, max(centre, 0));
      if (half == 0 && centre >= 0 && centre_region >= 0 && weights[centre] > 0.f)
        pair_sums[centre_region] = weights[centre];  // no other warp has this pixel
      return;
    }
    for (int run = 0, begin = 0; run < run_count; ++run) {
      const int end = runs.end[run];
      float sum = 0.f;
      for (int k = begin + half; k < end; k += 2) sum += weights[runs.pixels[k]];
      sum += __shfl_xor_sync(kFullWarp, sum, kMmaRows);
      if (half == 0 && sum > 0.f) atomicAdd(pair_sums + runs.region[run], sum);
      begin = end;
    }
  });
}

__global__ void __launch_bounds__(kThreads) list_pairs_kernel(int64_t pairs, State state, int64_t* gaussians) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pair < pairs) gaussians[pair] = state.splats[state.ranks[pair]].gaussian;
}

}  // namespace

void list_pairs(const Camera<float>& camera, const Prepared& prepared, int64_t* tile_begin, int64_t* gaussians,
                const Execution& execution) {
  const DeviceGuard guard(execution);
  const State state = state_of(prepared, camera.width, camera.height);
  const cudaStream_t stream = stream_of(execution);
  const size_t bytes = (static_cast<size_t>(state.tiles_x) * state.tiles_y + 1) * sizeof(int64_t);
  check(cudaMemcpyAsync(tile_begin, state.tile_starts, bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
  launch("list_pairs_kernel", list_pairs_kernel, blocks_for(prepared.num_pairs), kThreads, stream, prepared.num_pairs,
         state, gaussians);
}

void sum_regions(const Camera<float>& camera, const Prepared& prepared, const RegionMap& map, bool centres_only,
                 float* sums, const Execution& execution) {
  const DeviceGuard guard(execution);
  const State state = state_of(prepared, camera.width, camera.height);
  const dim3 groups(static_cast<unsigned>(state.tiles_x * state.tiles_y * kGroupsPerTile));
  launch("sum_regions_kernel", sum_regions_kernel, groups, kGroupThreads, stream_of(execution), camera.width,
         camera.height, state, map, centres_only, sums);
}

}  // namespace gaussian::cuda
