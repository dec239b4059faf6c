"""Objects taken out of a splat file, removed from it, or coloured: standard 3DGS PLY, other properties bit-identical."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.spatial import ConvexHull, QhullError

from scene.gaussian_model import SH_C0

FLAT = 1e-9  # a hull of points in one plane has no inside


def extracted(vertices: np.ndarray, members: Bool[np.ndarray, " n"]) -> np.ndarray:
    """The members alone, in their order."""
    return vertices[members]


def removed(vertices: np.ndarray, members: Bool[np.ndarray, " n"]) -> np.ndarray:
    """All but the members, in their order."""
    return vertices[~members]


def recolored(vertices: np.ndarray, members: Bool[np.ndarray, " n"], color: UInt8[np.ndarray, "3"]) -> np.ndarray:
    """The members in one colour from every side: the constant term is set and the view-dependent ones become zero."""
    result = vertices.copy()
    for channel, value in enumerate(color):
        result[f"f_dc_{channel}"][members] = (float(value) / 255 - 0.5) / SH_C0
    for name in vertices.dtype.names or ():
        if name.startswith("f_rest_"):
            result[name][members] = 0
    return result


def with_unknown_inside(
    members: Bool[np.ndarray, " n"], known: Bool[np.ndarray, " n"], means: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, " n"]:
    """The members and the Gaussians without an embedding inside their convex hull.

    Inner Gaussians are hidden behind the surface, so no photograph labels them; if they stayed, a ghost would remain.
    """
    try:
        hull = ConvexHull(means[members])
    except (QhullError, ValueError):  # too few members, or coplanar ones
        return members
    unknown = np.flatnonzero(~known & ~members)
    inside = (means[unknown] @ hull.equations[:, :3].T + hull.equations[:, 3] <= FLAT).all(1)
    result = members.copy()
    result[unknown[inside]] = True
    return result
