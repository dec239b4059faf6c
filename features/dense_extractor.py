"""Extractor of a grid of patch tokens from a picture."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from features.dense import PatchEncoder, patch_grid, resize_to_grid
from features.extractor import Extractor
from features.grid_store import PatchGrid

GridSize = Callable[[int, int], tuple[int, int]]  # (height, width) of an image -> (rows, columns) of patches


def dense_extractor(
    encode: PatchEncoder,
    patch: int,
    grid_size: GridSize,
    window_size: GridSize,
    mode: Literal["bicubic", "bilinear"] = "bicubic",
) -> Extractor:
    """Patch tokens of an image at the grid that `grid_size` returns, encoded in windows of at most `window_size`.

    `mode` is the filter that resizes the image to its grid.
    """

    def embed(image: UInt8[np.ndarray, "h w 3"]) -> PatchGrid:
        size = image.shape[:2]
        pixels = resize_to_grid(image, grid_size(*size), patch, mode)
        return PatchGrid(patch_grid(encode, pixels, patch, window_size(*size)))

    return Extractor({"encoder": embed})
