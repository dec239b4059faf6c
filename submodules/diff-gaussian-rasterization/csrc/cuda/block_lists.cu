// Splat lists of the 8x4 blocks of a frozen view, kept between passes. Without them each warp filters its tile's list
// in every pass. They contain only splats that some pixel of the block blends or terminates at. Results are bitwise the
// same.
#include <cub/cub.cuh>

#include "../backend.h"
#include "alpha.h"
#include "device.h"

namespace gaussian::cuda {
namespace {

struct BlockListStage {
  BlockSplat splats[kWarp];
  BlockQueue queue;
};

// Counts the splats of each block's list or, with kWrite, writes their positions starting at starts[block].
template <bool kWrite>
__global__ void __launch_bounds__(kGroupThreads)
    list_blocks_kernel(int width, int height, State state, const int64_t* starts, int64_t* counts,
                       uint32_t* positions) {
  __shared__ BlockListStage stages[kWarpsPerGroup];
  BlockListStage& stage = stages[threadIdx.x / kWarp];
  const Pixel pixel(state, width, height);
  const int64_t block = static_cast<int64_t>(pixel.tile) * kBlocksPerTile + pixel.block;
  int64_t size = 0;
  Transmittance transmittance(pixel.inside);
  BlockList<false> list(state, pixel, tile_length(state, pixel.tile), stage.queue);
  while (!__all_sync(kFullWarp, transmittance.done())) {
    BlockList<false>::Entry mine;
    const int count = list.fetch(mine);
    if (count == 0) break;
    stage.splats[pixel.lane] = pixel.lane < count ? mine.splat : null_splat();
    __syncwarp();
    unsigned kept = 0;
    for (int i = 0; i < count; ++i) {
      const float alpha = alpha_at(stage.splats[i], pixel.dx, pixel.dy);
      if (__any_sync(kFullWarp, alpha > 0.f && !transmittance.done())) kept |= 1u << i;
      transmittance.blend(alpha);
    }
    if (kWrite && (kept >> pixel.lane & 1u))
      positions[starts[block] + size + __popc(kept & ((1u << pixel.lane) - 1))] = mine.splat.position;
    size += __popc(kept);
    __syncwarp();
  }
  if (!kWrite && pixel.lane == 0) counts[block + 1] = size;
}

}  // namespace

void keep_lists(const Camera<float>& camera, const Prepared& prepared, Allocator memory, Allocator scratch,
                const Execution& execution) {
  const DeviceGuard guard(execution);
  const cudaStream_t stream = stream_of(execution);
  refuse_capture(stream, "counting the lists");
  Prepared plain = prepared;
  plain.weights = nullptr;
  const State state = state_of(plain, camera.width, camera.height);
  const int64_t blocks = block_count(state);
  const dim3 groups(static_cast<unsigned>(blocks / kWarpsPerGroup));
  int64_t* const counts = allocate<int64_t>(scratch, blocks + 1);
  int64_t* const starts = allocate<int64_t>(scratch, blocks + 1);
  clear(counts, (blocks + 1) * static_cast<int64_t>(sizeof(int64_t)), stream);
  launch("list_blocks_kernel", list_blocks_kernel<false>, groups, kGroupThreads, stream, camera.width, camera.height,
         state, nullptr, counts, nullptr);
  with_storage("the sum of lists", scratch, [&](void* storage, size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(storage, bytes, counts, starts, static_cast<int>(blocks + 1), stream);
  });
  const int64_t total = read_from_device(starts + blocks, stream);
  const int64_t start_bytes = (blocks + 1) * static_cast<int64_t>(sizeof(int64_t));
  char* const kept = allocate<char>(memory, start_bytes + total * static_cast<int64_t>(sizeof(uint32_t)));
  check(cudaMemcpyAsync(kept, starts, static_cast<size_t>(start_bytes), cudaMemcpyDeviceToDevice, stream), "a copy");
  launch("list_blocks_kernel", list_blocks_kernel<true>, groups, kGroupThreads, stream, camera.width, camera.height,
         state, starts, nullptr, reinterpret_cast<uint32_t*>(kept + start_bytes));
}

}  // namespace gaussian::cuda
