"""From the relevancy of every Gaussian to instances: smoothed over neighbours, thresholded, and split into connected groups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.filters import threshold_otsu

LINK = 3.0  # maximum link length, in multiples of the median distance to the last linked neighbour
LINKED_NEIGHBOURS = 20

ThresholdRule = Literal["fixed", "relative", "otsu"]


@dataclass(frozen=True)
class Instance:
    """One connected group of Gaussians that answers a phrase."""

    members: Int[np.ndarray, " m"]
    """Indices of the Gaussians, ascending."""
    score: float
    """Opacity-weighted mean relevancy of the members above the threshold, in (0, 1)."""


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


def threshold_of(relevancy: Float[np.ndarray, " n"], rule: ThresholdRule, value: float) -> float:
    """Relevancy above which `rule` selects a Gaussian; `value` where there are no Gaussians."""
    return THRESHOLDS[rule](relevancy, value) if len(relevancy) else value


def connected_groups(means: Float[np.ndarray, "m 3"], scales: Float[np.ndarray, "m 3"]) -> Int[np.ndarray, " m"]:
    """Group of each Gaussian, counted from 0.

    Two Gaussians are linked when one is among the 20 nearest of the other, and they are no further apart than `LINK` times the
    median distance to the 20th or than the sum of their longest standard deviations: flat surfaces have few, large Gaussians.
    Memory is linear in the number of Gaussians.
    """
    count = min(LINKED_NEIGHBOURS + 1, len(means))
    if count < 2:
        return np.zeros(len(means), np.int64)
    distances, index = cKDTree(means).query(means, count, workers=-1)
    distances, index, extent = distances[:, 1:], index[:, 1:], scales.max(1)
    near = distances <= np.maximum(LINK * np.median(distances[:, -1]), extent[:, None] + extent[index])
    rows = np.repeat(np.arange(len(means)), count - 1)[near.ravel()]
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, index.ravel()[near.ravel()])), shape=(len(means),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def find_instances(
    relevancy: Float[np.ndarray, " n"],
    threshold: float,
    floor: float,
    min_gaussians: int,
    means: Float[np.ndarray, "n 3"],
    scales: Float[np.ndarray, "n 3"],
    opacities: Float[np.ndarray, " n"],
) -> list[Instance]:
    """Connected groups of Gaussians above `floor` that have at least `min_gaussians` above `threshold`, best first.

    A thing is rarely above the threshold everywhere: its edges and its other parts are lower, but still above the rest.
    """
    index = np.flatnonzero(relevancy > min(floor, threshold))
    groups = connected_groups(means[index], scales[index])
    order = np.argsort(groups, kind="stable")
    found = []
    for members in np.split(index[order], np.flatnonzero(np.diff(groups[order])) + 1):
        core = members[relevancy[members] > threshold]
        if len(core) >= max(min_gaussians, 1):
            weight = opacities[core].astype(np.float64)
            score = float(np.average(relevancy[core], weights=weight if weight.sum() > 0 else None))
            found.append((len(core), Instance(members, score)))
    found.sort(key=lambda pair: (-pair[1].score * np.sqrt(pair[0]), int(pair[1].members[0])))
    return [instance for _, instance in found]
