"""Position of a group of Gaussians: centre, axis-aligned box, oriented box."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

PERCENTILES = (1.0, 99.0)  # of the members' centres, so that floaters do not enlarge a box
CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])  # of the unit cube
EDGES = [(i, j) for i in range(8) for j in range(i + 1, 8) if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1]  # pairs of corners


@dataclass(frozen=True)
class Box:
    """Axis-aligned box."""

    min: tuple[float, float, float]
    max: tuple[float, float, float]


@dataclass(frozen=True)
class OrientedBox:
    """Centre, edge lengths, and the unit directions of the edges as rows, right-handed."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]

    @property
    def corners(self) -> Float[np.ndarray, "8 3"]:
        """The corners, in the order of `CORNERS`."""
        return np.array(self.center) + CORNERS * np.array(self.size) @ np.array(self.axes)


def weighted_center(points: Float[np.ndarray, "m 3"], weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, "3"]:
    """Weighted mean position; the plain mean when all weights are zero."""
    return np.average(points, axis=0, weights=weights if weights.sum() > 0 else None)


def axis_aligned(points: Float[np.ndarray, "m 3"]) -> Box:
    """Box of the 1st to 99th percentile along each axis."""
    low, high = np.percentile(points, PERCENTILES, axis=0)
    return Box(tuple(map(float, low)), tuple(map(float, high)))


def oriented(points: Float[np.ndarray, "m 3"], upright: bool) -> OrientedBox:
    """Box of the 1st to 99th percentile along the directions of the group.

    With `upright` (z points up) one edge is vertical, and the base is the smallest rectangle around the points seen from
    above. Otherwise the directions are the principal axes, longest first.
    """
    if upright:
        inside = _trimmed(points)
        _, _, degrees = cv2.minAreaRect(inside[:, :2].astype(np.float32))
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        axes = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    else:
        _, axes = np.linalg.eigh(np.cov((points - points.mean(0)).T) if len(points) > 1 else np.eye(3))
        axes = axes[:, ::-1].T
        if np.linalg.det(axes) < 0:
            axes[2] = -axes[2]
    low, high = np.percentile(points @ axes.T, PERCENTILES, axis=0)
    center = (low + high) / 2 @ axes
    return OrientedBox(*(tuple(map(float, row)) for row in (center, high - low)), tuple(tuple(map(float, row)) for row in axes))


def _trimmed(points: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "k 3"]:
    low, high = np.percentile(points, PERCENTILES, axis=0)
    inside = ((points >= low) & (points <= high)).all(1)
    return points[inside] if inside.sum() > 2 else points
