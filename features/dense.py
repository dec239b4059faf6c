"""Dense features of a whole image: patch tokens on a grid at the image's aspect, in one pass or in sliding windows."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

PatchEncoder = Callable[[Tensor], Tensor]  # RGB in [0, 1] [b, 3, height, width] -> tokens [b, h, w, d]


def area_grid(height: int, width: int, side: int, patch: int) -> tuple[int, int]:
    """Patches (rows, columns) of an image scaled, at its aspect, to the area of a square of `side` pixels."""
    aspect = (height / width) ** 0.5
    return max(1, round(side / patch * aspect)), max(1, round(side / patch / aspect))


def short_side_grid(height: int, width: int, short_side: int, patch: int) -> tuple[int, int]:
    """Patches (rows, columns) of an image scaled, at its aspect, to `short_side` pixels on its shorter side."""
    scale = short_side / min(height, width) / patch
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_to_grid(
    image: UInt8[np.ndarray, "h w 3"], grid: tuple[int, int], patch: int, mode: Literal["bicubic", "bilinear"] = "bicubic"
) -> Float[Tensor, "1 3 height width"]:
    """The image as RGB in [0, 1] with exactly `grid` patches (rows, columns), antialiased where it shrinks."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    size = (grid[0] * patch, grid[1] * patch)
    if pixels.shape[2:] == size:
        return pixels
    return F.interpolate(pixels, size=size, mode=mode, antialias=True, align_corners=False).clamp_(0, 1)


def patch_grid(
    encode: PatchEncoder, pixels: Float[Tensor, "1 3 height width"], patch: int, window: tuple[int, int], batch: int = 16
) -> Float16[np.ndarray, "h w d"]:
    """Tokens of every patch of an image. An image larger than `window` (rows, columns of patches) is encoded in windows.

    Windows overlap by half; a patch in several of them gets the mean of its tokens.
    """
    rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch
    window = (min(window[0], rows), min(window[1], columns))
    corners = [(y, x) for y in _starts(rows, window[0]) for x in _starts(columns, window[1])]
    total = count = None
    for begin in range(0, len(corners), batch):
        part = corners[begin : begin + batch]
        tokens = encode(
            torch.cat([pixels[:, :, y * patch : (y + window[0]) * patch, x * patch : (x + window[1]) * patch] for y, x in part])
        ).float()
        if total is None:
            total = tokens.new_zeros(rows, columns, tokens.shape[-1])
            count = tokens.new_zeros(rows, columns, 1)
        for (y, x), token in zip(part, tokens, strict=True):
            total[y : y + window[0], x : x + window[1]] += token
            count[y : y + window[0], x : x + window[1]] += 1
    return (total / count).half().cpu().numpy()


def _starts(length: int, window: int) -> list[int]:
    """Offsets of windows, half a window apart, the last one at the end."""
    steps = -(-(length - window) // max(1, window // 2))
    return [round(i * (length - window) / steps) for i in range(steps + 1)] if steps else [0]
