"""Lens distortion: how far it displaces pixels, and when it is small enough to treat the camera as a pinhole."""

import numpy as np

# Deviates from LangSplat, which treats every SIMPLE_RADIAL camera as a pinhole.
NEGLIGIBLE = 0.5  # pixels; less than the error of the poses


def largest_shift(
    focal: tuple[float, float],
    center: tuple[float, float],
    size: tuple[int, int],
    radial: tuple[float, float],
    tangential: tuple[float, float] = (0.0, 0.0),
) -> float:
    """Maximum displacement of an image pixel, in pixels, under OpenCV's distortion model.

    Args:
        focal: fx, fy in pixels.
        center: principal point cx, cy in pixels.
        size: width, height in pixels.
        radial: k1, k2.
        tangential: p1, p2.
    """
    columns, rows = (np.linspace(0, side, 65) for side in size)
    x, y = np.meshgrid((columns - center[0]) / focal[0], (rows - center[1]) / focal[1])
    with np.errstate(all="ignore"):
        squared = x * x + y * y
        scaling = radial[0] * squared + radial[1] * squared**2
        p1, p2 = tangential
        dx = x * scaling + 2 * p1 * x * y + p2 * (squared + 2 * x * x)
        dy = y * scaling + p1 * (squared + 2 * y * y) + 2 * p2 * x * y
        shift = np.hypot(dx * focal[0], dy * focal[1]).max()
    return float(shift) if np.isfinite(shift) else float("inf")
