// The inner loops of the CPU backend, one table of functions per instruction set.
//
// A tile is 16x16 pixels, cut into 32 blocks of 4x2 pixels; the 8 pixels of a block are the 8 lanes of a vector. A
// visit is a (Gaussian, block) in which at least one pixel blends the Gaussian. `evaluate` computes the visits of a
// tile once and stores their weights; everything after that (any number of channels, forward or backward) is a loop
// over visits.
#pragma once

#include <cstdint>

namespace gaussian::cpu {

constexpr int kLanes = 8;
constexpr int kBlocks = 32;  // per tile; block k covers columns 4 (k % 4), rows 2 (k / 4)
constexpr int kTilePixels = kBlocks * kLanes;
constexpr int kBatch = 256;           // pairs evaluated together: the index fits a byte, the features fit the L1 cache
constexpr int kForwardChannels = 12;  // accumulators that stay in 16 registers next to a weight and a feature
constexpr int kMoments = 6;           // 1, x, y, xx, xy, yy

// A Gaussian at a tile: t1 = a0 + ux x + uy y, t2 = b0 + vy y with x, y relative to the tile's centre (see Splat).
template <class T>
struct Pair {
  T a0, ux, uy, b0, vy, log2_opacity;
  uint32_t blocks;    // bit k: some pixel of block k may reach alpha >= 1/255
  uint32_t gaussian;  // row in the caller's arrays
};

template <class T>
struct alignas(64) TileState {
  T running[kTilePixels];        // product of 1 - alpha, also after termination, in block order
  T transmittance[kTilePixels];  // the same, frozen at termination
  uint32_t alive;                // blocks with a pixel that has not terminated
  int64_t evaluated;             // (pair, block) evaluations so far
};

// Visits of one batch: those of block k are [begin[k], end[k]), in depth order, up to the one where its last pixel
// terminated.
template <class T>
struct Visits {
  int32_t begin[kBlocks], end[kBlocks];
  int32_t size;    // rows used
  uint8_t* index;  // pair within the batch
  T* weight;       // [visits, 8] alpha times transmittance
  T* alpha;        // [visits, 8] or null; zero where the pixel does not blend
};

// A tile split into regions of pixels. Each block has one part per region that it overlaps.
template <class T>
struct TileRegions {
  int32_t count;                                   // of regions
  int32_t part_begin[kBlocks + 1];                 // parts of block k: part_begin[k] to part_begin[k + 1]
  int32_t part_region[kTilePixels];                // [parts]
  alignas(64) T part_lanes[kTilePixels * kLanes];  // [parts, 8] 1 for the pixels of the part, else 0
  uint8_t of_pixel[kTilePixels];                   // region by pixel, in block order; unset outside the image
};

// Visits for which `evaluate` needs space after the current end of its arrays.
constexpr int kMaxVisits = kBatch * kBlocks + kLanes;

template <class T>
struct TileKernels {
  // Computes the visits of a batch in depth order and their weights, and updates the transmittance in `state`.
  void (*evaluate)(const Pair<T>* pairs, int count, TileState<T>& state, Visits<T>& visits);
  // accumulators[channel][256] += weight * features[pair][channel] for `channels` <= 12 channels.
  void (*accumulate)(const Visits<T>& visits, const T* features, int channels, T* accumulators);
  // products[visit][8] (+)= sum over channels of features[pair][channel] * values[channel][256].
  void (*dot)(const Visits<T>& visits, const T* features, int channels, const T* values, bool add, T* products);
  // Converts products to g = dL / d ln(alpha), from the last visit to the first. `behind` [256] is the dot product of
  // the image gradient and the colour behind the current visit; initially, that of the background.
  void (*differentiate)(const Visits<T>& visits, T* behind, T* products);
  // sums[pair][channel] += sum over pixels of factor * values[block][pixel][channel], 16 channels; null if two
  // calls of scatter8 are as fast.
  void (*scatter16)(const Visits<T>& visits, const T* factors, const T* values, T* sums);
  // The same for 8 channels.
  void (*scatter8)(const Visits<T>& visits, const T* factors, const T* values, T* sums);
  // sums[pair][lane] += factor * values[block][lane]: one channel, to be summed over the lanes by the caller.
  void (*scatter1)(const Visits<T>& visits, const T* factors, const T* values, T* sums);
  // sums[pair][region] += sum of the weights over the pixels of the region.
  void (*sum_regions)(const Visits<T>& visits, const TileRegions<T>& regions, T* sums);
  // Conversions of `count` [visits, 8] weights to and from 16 bits (half_weights.h).
  void (*round_weights)(T* weights, int64_t count);  // keeps the type
  void (*pack_weights)(const T* rounded, int64_t count, uint16_t* out);
  void (*unpack_weights)(const uint16_t* packed, int64_t count, T* out);
};

const TileKernels<float>& avx2_kernels();    // only on processors with AVX2 and FMA
const TileKernels<float>& avx512_kernels();  // only on processors with AVX-512 F, VL, DQ and BW as well
const TileKernels<float>& neon_kernels();    // only on arm64
template <class T>
const TileKernels<T>& scalar_kernels();
// The kernels of the instruction set in use.
template <class T>
const TileKernels<T>& kernels();
template <>
const TileKernels<float>& kernels<float>();
template <>
const TileKernels<double>& kernels<double>();

}  // namespace gaussian::cpu
