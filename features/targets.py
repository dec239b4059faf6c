"""Codes at the pixels of a picture: by segment, or interpolated from a patch grid."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@runtime_checkable
class Target(Protocol):
    """Target of a language field in one view."""

    @property
    def width(self) -> int:
        """Pixels in a row."""

    @property
    def height(self) -> int:
        """Pixels in a column."""

    def image(self) -> Float[Tensor, "lc h w"]:
        """The codes of all levels side by side; zero where there is none."""

    def labelled(self) -> Bool[Tensor, "l h w"] | None:
        """Pixels that have a code, per level; None when all have."""


@dataclass(frozen=True)
class SegmentTarget:
    """Segment ids and a table of codes; the image is gathered on each call."""

    ids: Int[Tensor, "l h w"]
    """Column of the table, int16 where that suffices."""
    table: Float[Tensor, "c m"]
    """Codes of the image's segments; the last column is zero, for pixels without a segment."""
    complete: bool
    """Whether every pixel of every level has a segment."""

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return self.ids.shape[2]

    @property
    def height(self) -> int:
        """Pixels in a column."""
        return self.ids.shape[1]

    def image(self) -> Float[Tensor, "lc h w"]:
        """The codes of all levels side by side; zero where there is no segment."""
        levels, height, width = self.ids.shape
        image = self.table.new_empty(levels, len(self.table), height * width)
        for level in range(levels):
            torch.index_select(self.table, 1, self.ids[level].flatten().int(), out=image[level])
        return image.view(-1, height, width)

    def labelled(self) -> Bool[Tensor, "l h w"] | None:
        """Pixels that have a segment, per level; None when all have."""
        return None if self.complete else self.ids < self.table.shape[1] - 1


@dataclass(frozen=True)
class GridTarget:
    """Codes of a patch grid, interpolated to pixels on each call.

    Deviates from DinoSplat, which interpolates the tokens and encodes every pixel: the same for principal components.
    """

    codes: Float[Tensor, "c rows columns"]
    width: int
    height: int

    def image(self) -> Float[Tensor, "c h w"]:
        """The codes at the pixels, bilinear between the patches' centres."""
        size = (self.height, self.width)
        return F.interpolate(self.codes[None].float(), size, mode="bilinear", align_corners=False)[0]

    def labelled(self) -> None:
        """Every pixel has a code."""
