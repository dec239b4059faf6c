"""From the relevancy of every Gaussian to instances: smoothed over neighbours, thresholded, and split into connected groups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.filters import threshold_otsu

LINK = 2.0  # maximum link length, in multiples of the median distance to the tenth nearest member
LINKED_NEIGHBOURS = 10

ThresholdRule = Literal["fixed", "relative", "otsu"]


@dataclass(frozen=True)
class Instance:
    """One connected group of Gaussians that answers a phrase."""

    members: Int[np.ndarray, " m"]
    """Indices of the Gaussians, ascending."""
    score: float
    """Opacity-weighted mean relevancy of the members, in (0, 1)."""


class Neighbours:
    """The nearest known Gaussians of each known one, computed once for all phrases and levels."""

    def __init__(self, means: Float[np.ndarray, "n 3"], count: int):
        """`count` neighbours, the Gaussian itself included; 1 leaves relevancy as it is."""
        count = min(count, len(means))
        self._index = None
        if count > 1:
            self._index = cKDTree(means).query(means, count, workers=-1)[1]

    def smoothed(self, relevancy: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Mean over each Gaussian's neighbours."""
        return relevancy if self._index is None else relevancy[self._index].mean(1)


def _fixed(relevancy: np.ndarray, value: float) -> float:
    return value


def _relative(relevancy: np.ndarray, value: float) -> float:
    """Fraction `value` of the range from the median relevancy to the maximum."""
    low, high = float(np.median(relevancy)), float(relevancy.max())
    return low + value * (high - low)


def _otsu(relevancy: np.ndarray, value: float) -> float:
    """Otsu's threshold, but at least `value`; otherwise an absent phrase would always select something."""
    return max(value, float(threshold_otsu(relevancy))) if np.ptp(relevancy) > 0 else value


THRESHOLDS: Mapping[str, Callable[[np.ndarray, float], float]] = {"fixed": _fixed, "relative": _relative, "otsu": _otsu}


def selected(relevancy: Float[np.ndarray, " n"], rule: ThresholdRule, value: float) -> Bool[np.ndarray, " n"]:
    """Gaussians whose relevancy is above the threshold of `rule`."""
    return relevancy > THRESHOLDS[rule](relevancy, value) if len(relevancy) else np.zeros(0, bool)


def connected_groups(means: Float[np.ndarray, "m 3"]) -> Int[np.ndarray, " m"]:
    """Group of each Gaussian, counted from 0. Two are linked when one is among the ten nearest of the other and no further
    away than `LINK` times the median distance to the tenth; memory is linear in the number of Gaussians."""
    count = min(LINKED_NEIGHBOURS + 1, len(means))
    if count < 2:
        return np.zeros(len(means), np.int64)
    distances, index = cKDTree(means).query(means, count, workers=-1)
    near = distances[:, 1:] <= LINK * np.median(distances[:, -1])
    rows = np.repeat(np.arange(len(means)), count - 1)[near.ravel()]
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, index[:, 1:].ravel()[near.ravel()])), shape=(len(means),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def find_instances(
    relevancy: Float[np.ndarray, " n"],
    chosen: Bool[np.ndarray, " n"],
    means: Float[np.ndarray, "n 3"],
    opacities: Float[np.ndarray, " n"],
    min_gaussians: int,
) -> list[Instance]:
    """Instances among the `chosen` Gaussians, best score first; groups of fewer than `min_gaussians` are dropped."""
    index = np.flatnonzero(chosen)
    groups = connected_groups(means[index])
    found = []
    for group in range(int(groups.max()) + 1 if len(groups) else 0):
        members = index[groups == group]
        if len(members) >= min_gaussians:
            weight = opacities[members].astype(np.float64)
            score = (
                float(np.average(relevancy[members], weights=weight)) if weight.sum() > 0 else float(relevancy[members].mean())
            )
            found.append(Instance(members, score))
    return sorted(found, key=lambda instance: (-instance.score * np.sqrt(len(instance.members)), int(instance.members[0])))
