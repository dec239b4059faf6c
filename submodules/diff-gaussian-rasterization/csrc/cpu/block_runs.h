// The last step of list_blocks (see ScalarLanes): from one bit per (block, pair) to the pairs of each block. A table
// maps every 8 bits to a run of index bytes, so that no branch depends on the data. In an unnamed namespace, as the
// lanes.
#pragma once

#include "tile_kernels.h"

namespace gaussian::cpu {
namespace {

// For each byte, the positions of its set bits from the lowest, one per byte.
struct BlockRuns {
  uint64_t run[256];
  constexpr BlockRuns() : run{} {
    for (int bits = 0; bits < 256; ++bits)
      for (int bit = 0, place = 0; bit < 8; ++bit)
        if (bits >> bit & 1) run[bits] |= uint64_t(bit) << (8 * place++);
  }
};
constexpr BlockRuns kBlockRuns;

// `words[k]` has bit i set if block k has pair i, for `bytes` times 8 pairs.
inline int list_runs(const uint8_t (*words)[kBatch / 8], int bytes, uint8_t* index, int32_t* begin) {
  uint8_t* out = index;
  for (int k = 0; k < kBlocks; ++k) {
    begin[k] = int32_t(out - index);
    for (int byte = 0; byte < bytes; ++byte) {
      const uint8_t bits = words[k][byte];
      const uint64_t run = kBlockRuns.run[bits] + 0x0101010101010101u * uint64_t(8 * byte);
      __builtin_memcpy(out, &run, 8);
      out += __builtin_popcount(bits);
    }
  }
  return int(out - index);
}

}  // namespace
}  // namespace gaussian::cpu
