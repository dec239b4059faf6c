"""The data structure of the CUDA search: a 32-ary tree of bounding boxes over points in Morton order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

FAN_OUT = 32  # children per box and points per leaf: one per lane of a warp
BITS = 21  # per axis; three axes fill 63 bits of an int64


class BoxTree(NamedTuple):
    """A 32-ary tree: box i of a level bounds boxes 32 i to 32 i + 31 of the level below; a leaf bounds 32 points."""

    points: Float[Tensor, "n 3"]  # in Morton order
    order: Int64[Tensor, " n"]  # input index of each point
    boxes: Float[Tensor, "b 6"]  # lower and upper corner; the leaves first, then level by level
    level_sizes: list[int]  # boxes per level; the last has at most 32


def morton_order(points: Float[Tensor, "n 3"]) -> Int64[Tensor, " n"]:
    """Indices that sort finite points along the Morton curve of their bounding cube."""
    points = points.double()  # differences of large float32 coordinates would overflow
    lower = points.amin(0)
    extent = (points.amax(0) - lower).amax()
    cells = ((points - lower) / extent.clamp_min(torch.finfo(torch.float64).tiny) * (2**BITS - 1)).long()
    codes = _spread_bits(cells)
    return (codes[:, 0] | codes[:, 1] << 1 | codes[:, 2] << 2).argsort()


def _spread_bits(cells: Tensor) -> Tensor:
    """Move bit i of each 21-bit integer to bit 3 i."""
    for shift, mask in (
        (32, 0x001F00000000FFFF),
        (16, 0x001F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cells = (cells | cells << shift) & mask
    return cells


def build_box_tree(points: Float[Tensor, "n 3"]) -> BoxTree:
    """Sort finite points (n >= 1) and build the tree, on the device of `points`."""
    order = morton_order(points)
    points = points[order]
    lower, upper = points, points
    levels = []
    while not levels or len(lower) > FAN_OUT:
        lower, upper = _groups(lower).amin(1), _groups(upper).amax(1)
        levels.append(torch.cat([lower, upper], dim=1))
    return BoxTree(points, order, torch.cat(levels), [len(level) for level in levels])


def _groups(rows: Tensor) -> Tensor:
    """Rows in groups of 32. The last row is repeated to fill the last group, which changes no bound."""
    missing = -len(rows) % FAN_OUT
    return torch.cat([rows, rows[-1:].expand(missing, -1)]).view(-1, FAN_OUT, rows.shape[1])
