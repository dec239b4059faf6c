# ruff: noqa: N999 - the module name, like the function name, is the published one
"""Module name that published training code imports: `simple_knn._C`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simple_knn import mean_squared_distance

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def distCUDA2(points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:  # noqa: N802 - the published name
    """Mean squared distance of every point to its 3 nearest other points; see `simple_knn.mean_squared_distance`."""
    return mean_squared_distance(points, k=3)
