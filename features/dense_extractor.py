"""From an image to a grid of patch tokens."""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from features.dense import PatchEncoder, patch_grid, resize_to_grid
from features.extraction import Clock
from features.grids import write_grid
from workspace import SceneFolder

GridSize = Callable[[int, int], tuple[int, int]]  # (height, width) of an image -> (rows, columns) of patches


class DenseExtractor:
    """Patch tokens of an image at the grid `grid_size` gives it, seen in windows of at most `window_size`."""

    def __init__(self, encode: PatchEncoder, patch: int, grid_size: GridSize, window_size: GridSize):
        self._encode = encode
        self._patch = patch
        self._grid_size = grid_size
        self._window_size = window_size

    def extract(self, scene: SceneFolder, key: str, image: UInt8[np.ndarray, "h w 3"], clock: Clock) -> dict[str, int]:
        """Make and write the grid of one image; returns the number of its tokens."""
        size = image.shape[:2]
        with clock.part("encoder"):
            pixels = resize_to_grid(image, self._grid_size(*size), self._patch)
            grid = patch_grid(self._encode, pixels, self._patch, self._window_size(*size))
        with clock.part("write"):
            write_grid(scene, key, grid)
        return {"tokens": grid.shape[0] * grid.shape[1]}
