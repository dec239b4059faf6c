"""Lifting on CUDA: torch finds the regions, kernels sum the weights of each (tile, Gaussian) pair by region, torch merges sums.

Pixels of a tile with equal labels at all levels form a region, so that all levels share one pass over the weights.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _C
from .memory import target_for

TILE = 16  # pixels
LABEL_SPAN = 1 << 32  # labels are below 2^31


@dataclass(frozen=True)
class TileRegions:
    """The regions of all tiles; the regions of one tile are contiguous."""

    local: Tensor  # [H, W] int32, region of each pixel, numbered within its tile
    counts: Tensor  # [tiles] int32
    begin: Tensor  # [tiles] int64, first region of each tile
    labels: Tensor  # [L, regions] int32, -1 for none

    @classmethod
    def of(cls, label_maps: Tensor) -> "TileRegions":
        """Split every tile of `label_maps` [L, H, W] int32 into regions."""
        _, height, width = label_maps.shape
        rows, columns = (torch.arange(side, device=label_maps.device) // TILE for side in (height, width))
        tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
        tile = rows[:, None] * tiles_x + columns
        region = tile
        for level in label_maps.clamp(min=-1):
            region = torch.unique(region * LABEL_SPAN + level + 1, return_inverse=True)[1]  # the order by tile is preserved
        region, tile = region.flatten(), tile.flatten()
        pixels = torch.arange(len(region), device=region.device)
        member = torch.zeros(int(region.max()) + 1, dtype=torch.int64, device=region.device).scatter_(0, region, pixels)
        counts = torch.bincount(tile[member], minlength=tiles_x * tiles_y)
        begin = counts.cumsum(0) - counts
        local = (region - begin[tile]).to(torch.int32).reshape(height, width)
        return cls(local, counts.to(torch.int32), begin, label_maps.clamp(min=-1).flatten(1)[:, member])


@dataclass(frozen=True)
class PairSums:
    """Layout of the weight sums: each tile has a matrix [pairs of the tile, regions of the tile]."""

    tile_begin: Tensor  # [tiles + 1] int64, first pair of each tile
    gaussians: Tensor  # [pairs] int64
    begin: Tensor  # [tiles + 1] int64, first sum of each tile

    @classmethod
    def layout(cls, tile_begin: Tensor, gaussians: Tensor, regions: TileRegions) -> "PairSums":
        """Compute the layout from the tile lists and the regions."""
        ends = (tile_begin.diff() * regions.counts).cumsum(0)
        return cls(tile_begin, gaussians, torch.cat([ends.new_zeros(1), ends]))

    def rows(self, sums: Tensor, regions: TileRegions) -> tuple[Tensor, Tensor, Tensor]:
        """(Gaussian, region, weight) of every positive sum."""
        place = sums.nonzero()[:, 0]
        tile = torch.searchsorted(self.begin, place, right=True) - 1
        within, width = place - self.begin[tile], regions.counts[tile]
        gaussians = self.gaussians[self.tile_begin[tile] + within // width]
        return gaussians, regions.begin[tile] + within % width, sums[place].double()


def sum_by_label(gaussians: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Merge (Gaussian, label, weight) rows with equal Gaussian and label by summing weights; sorted by Gaussian, then label."""
    keys, inverse = torch.unique(gaussians * LABEL_SPAN + labels, return_inverse=True)
    sums = weights.new_zeros(len(keys)).index_add_(0, inverse, weights)
    return keys // LABEL_SPAN, (keys % LABEL_SPAN).to(torch.int32), sums.float()


def collect(
    pairs: PairSums, sums: Tensor, regions: TileRegions, count: int
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor, Tensor]:
    """The (Gaussian, label, weight) rows of each level, and the labelled and unlabelled weights [L, count]."""
    gaussians, region, weights = pairs.rows(sums, regions)
    levels, labelled, unlabelled = [], [], []
    for labels in regions.labels[:, region]:
        has = labels >= 0
        levels.append(sum_by_label(gaussians[has], labels[has], weights[has]))
        for part, totals in ((has, labelled), (~has, unlabelled)):
            totals.append(weights.new_zeros(count).index_add_(0, gaussians[part], weights[part]).float())
    return levels, torch.stack(labelled), torch.stack(unlabelled)


def lift_on_cuda(
    prepared: dict[str, Any], size: tuple[int, int], count: int, label_maps: Tensor, centres_only: bool
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor, Tensor]:
    """Run the kernels; returns what `collect` does. The summation order is not deterministic."""
    device = label_maps.device
    view = ([1.0] * 16, size[1], size[0])  # only the size is read
    target = target_for(label_maps)
    regions = TileRegions.of(label_maps)
    tile_begin = torch.empty(len(regions.counts) + 1, dtype=torch.int64, device=device)
    gaussians = torch.empty(prepared["num_pairs"], dtype=torch.int64, device=device)
    _C.list_pairs(target, view, prepared, tile_begin.data_ptr(), gaussians.data_ptr())
    pairs = PairSums.layout(tile_begin, gaussians, regions)
    sums = torch.zeros(int(pairs.begin[-1]), device=device)
    region_map = {"regions": regions.local, "region_counts": regions.counts, "sum_begin": pairs.begin}
    _C.sum_regions(target, view, prepared, region_map, centres_only, sums.data_ptr())
    return collect(pairs, sums, regions, count)
