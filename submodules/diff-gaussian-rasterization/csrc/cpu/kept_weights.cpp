// Blending weights of frozen geometry, kept in memory: reading them is much faster than evaluating them.
#include <stdexcept>

#include "../backend.h"
#include "scratch.h"
#include "tile_pass.h"

namespace gaussian::cpu {
namespace {

// Evaluates every tile and calls visit(tile, visits).
template <class Visit>
void for_each_tile(const PreparedView<float>& view, bool half, int threads, Visit&& visit) {
  std::vector<TileVisits<float>> visits(threads);
  const int64_t tiles = int64_t(view.header->tiles_x) * view.header->tiles_y;
  parallel_for(threads, tiles, [&](int64_t item, int thread) {
    const uint32_t tile = view.tile_order[item];
    visits[thread].evaluate(kernels<float>(), view, tile, tile_area(*view.header, tile), false);
    if (half) visits[thread].round(kernels<float>());
    visit(tile, visits[thread]);
  });
}

}  // namespace

std::vector<int64_t> weight_places(const Prepared& prepared, const Execution& execution) {
  const PreparedView<float> view = PreparedView<float>::of(prepared);
  const size_t tiles = size_t(view.header->tiles_x) * view.header->tiles_y;
  std::vector<int64_t> bytes(tiles + 1), begin(tiles + 1);
  for_each_tile(view, false, execution.threads, [&](uint32_t tile, const TileVisits<float>& visits) {
    bytes[tile] = int64_t(visits.kept_bytes(prepared.half_weights));
  });
  begin[0] = int64_t(aligned(tiles * sizeof(int64_t)));
  for (size_t tile = 0; tile < tiles; ++tile) begin[tile + 1] = begin[tile] + bytes[tile];
  return begin;
}

void keep_weights(const Prepared& prepared, const std::vector<int64_t>& places, void* memory,
                  const Execution& execution) {
  const PreparedView<float> view = PreparedView<float>::of(prepared);
  if (places.size() != size_t(view.header->tiles_x) * view.header->tiles_y + 1)
    throw std::invalid_argument("the places are not those that weight_places gave for this view");
  prefer_huge_pages(memory, size_t(places.back()));
  std::copy(places.begin(), places.end() - 1, static_cast<int64_t*>(memory));
  const bool half = prepared.half_weights;
  for_each_tile(view, half, execution.threads, [&](uint32_t tile, TileVisits<float>& visits) {
    visits.keep(kernels<float>(), half, static_cast<char*>(memory) + places[tile]);
  });
}

}  // namespace gaussian::cpu
