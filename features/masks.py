"""Segment masks cut to their boxes, and their crops for an image encoder."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int32, UInt8


class Mask(NamedTuple):
    """One segment: its pixels inside its tight box. A full-frame mask at 1440x1080 is 1.5 MB; most segments are small."""

    left: int
    top: int
    pixels: Bool[np.ndarray, "h w"]  # the first and last row and column each hold a pixel of the segment

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))


def cut_mask(frame: Bool[np.ndarray, "h w"], left: int = 0, top: int = 0) -> Mask | None:
    """The segment in a frame whose top left pixel is (left, top); None when the frame is empty."""
    rows = np.flatnonzero(frame.any(axis=1))
    if len(rows) == 0:
        return None
    y0, y1 = rows[0], rows[-1] + 1
    columns = np.flatnonzero(frame[y0:y1].any(axis=0))
    x0, x1 = columns[0], columns[-1] + 1
    return Mask(left + int(x0), top + int(y0), frame[y0:y1, x0:x1].copy())


def segment_map(masks: Sequence[Mask], height: int, width: int) -> Int32[np.ndarray, "h w"]:
    """Index of the segment at each pixel, -1 where there is none; later masks overwrite earlier ones."""
    indices = np.full((height, width), -1, np.int32)
    for index, (left, top, pixels) in enumerate(masks):
        region = indices[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        region[pixels] = index
    return indices


def map_masks(indices: Int32[np.ndarray, "h w"]) -> list[Mask]:
    """The segments of a map whose indices are 0..m-1, in order. An index without a pixel raises ValueError."""
    count = int(indices.max(initial=-1)) + 1
    # boxes of all segments in one pass over the map
    left, right = np.full(count, indices.shape[1]), np.full(count, -1)
    top, bottom = np.full(count, indices.shape[0]), np.full(count, -1)
    rows, columns = np.nonzero(indices >= 0)
    labels = indices[rows, columns]
    np.minimum.at(left, labels, columns)
    np.maximum.at(right, labels, columns)
    np.minimum.at(top, labels, rows)
    np.maximum.at(bottom, labels, rows)
    if (right < 0).any():
        raise ValueError(f"Segment {int(np.flatnonzero(right < 0)[0])} of {count} has no pixel.")
    return [
        Mask(int(x0), int(y0), indices[y0 : y1 + 1, x0 : x1 + 1] == i)
        for i, (x0, x1, y0, y1) in enumerate(zip(left, right, top, bottom, strict=True))
    ]


Resize = Callable[[UInt8[np.ndarray, "n n 3"]], UInt8[np.ndarray, "side side 3"]]  # a square picture to the encoder's size


def cut_crops(
    image: UInt8[np.ndarray, "h w 3"], masks: Sequence[Mask], side: int, resize: Resize | None = None
) -> UInt8[np.ndarray, "m side side 3"]:
    """Crop of each segment for the encoder: black outside the mask, padded to a centred square, resized to `side`.

    `resize` is the filter; without it, bilinear as published, which skips pixels where it shrinks by more than two.
    The box excludes the segment's last row and column, as the published crops do: SAM's boxes run from the first to the
    last pixel and are cut as if the end were exclusive. Deviates from it for segments one pixel wide or high, whose crop
    would be empty: those keep their pixel.
    """
    crops = np.zeros((len(masks), side, side, 3), np.uint8)
    for crop, (left, top, pixels) in zip(crops, masks, strict=True):
        h, w = (max(size - 1, 1) for size in pixels.shape)
        longest = max(h, w)
        y, x = (longest - h) // 2, (longest - w) // 2
        square = np.zeros((longest, longest, 3), np.uint8)
        np.multiply(image[top : top + h, left : left + w], pixels[:h, :w, None], out=square[y : y + h, x : x + w])
        crop[:] = cv2.resize(square, (side, side), interpolation=cv2.INTER_LINEAR) if resize is None else resize(square)
    return crops
