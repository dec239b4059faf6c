"""SAM's clean-up of masks: small holes filled, small islands removed, inside the mask's box instead of the whole frame."""

import cv2
import numpy as np

from features.masks import Mask, cut_mask


def remove_small_regions(mask: Mask, height: int, width: int, min_area: int) -> tuple[Mask, bool]:
    """`mask` with holes of fewer than `min_area` pixels filled, then islands of fewer removed, and whether it changed.

    The largest island stays whatever its size. `height` and `width` are the frame's: background that continues
    outside the box counts with its whole area, so that its part inside the box is not taken for a hole.
    """
    # Even origin: OpenCV numbers components by 2x2 blocks, and the number breaks ties between equally large islands.
    left, top = max(0, mask.left - 2) // 2 * 2, max(0, mask.top - 2) // 2 * 2
    right = min(width, mask.left + mask.pixels.shape[1] + 1)
    bottom = min(height, mask.top + mask.pixels.shape[0] + 1)
    pixels = np.zeros((bottom - top, right - left), bool)
    pixels[mask.top - top :, mask.left - left :][: mask.pixels.shape[0], : mask.pixels.shape[1]] = mask.pixels

    labels, sizes = _components(~pixels)
    for label, area in _outside(labels, (left, top, right, bottom), height, width):
        sizes[label] += area
    holes = np.flatnonzero(sizes[1:] < min_area) + 1  # label 0 is the mask itself
    pixels |= np.isin(labels, holes)

    labels, sizes = _components(pixels)
    large = np.flatnonzero(sizes[1:] >= min_area) + 1  # label 0 is the background
    changed = len(holes) > 0 or len(large) < len(sizes) - 1
    if not changed:
        return mask, False
    if len(large) == 0:
        large = [int(np.argmax(sizes[1:])) + 1]
    return cut_mask(np.isin(labels, large), left, top), True


def _components(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(pixels.view(np.uint8), connectivity=8)
    return labels, statistics[:, cv2.CC_STAT_AREA].astype(np.int64)


def _outside(labels: np.ndarray, box: tuple[int, int, int, int], height: int, width: int) -> list[tuple[int, int]]:
    """Background labels at the sides where the frame extends beyond `box`, with their areas outside the box."""
    left, top, right, bottom = box
    first, last = int(labels[0, 0]), int(labels[-1, -1])  # the margin at a side is one component, so one pixel suffices
    sides = {
        "left": (left > 0, first, left * height),
        "right": (right < width, last, (width - right) * height),
        "top": (top > 0, first, top * width),
        "bottom": (bottom < height, last, (height - bottom) * width),
    }
    beyond = {name: (label, area) for name, (goes_on, label, area) in sides.items() if goes_on}
    if not beyond or beyond.keys() in ({"left", "right"}, {"top", "bottom"}):
        return list(beyond.values())  # opposite sides alone are not connected outside the box
    label, _ = next(iter(beyond.values()))
    return [(label, height * width - labels.size)]  # connected sides are one region
