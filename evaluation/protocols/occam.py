"""Occam's LGS: threshold and level from the range of thresholds over which a mask barely changes.

Published as its evaluator of 3D-OVS (insait-institute/OccamLGS@70d2e696). Relevancy is not smoothed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import median_filter
from torch import Tensor

from query.answer_rule import Answer
from query.filters import majority
from workspace import InputError

THRESHOLDS = np.arange(0.01, 1.0, 0.01)
SHORTEST = 5  # minimum number of thresholds in a stable range
MEDIAN = 5


@dataclass(frozen=True)
class Stability:
    """Criteria for a stable threshold. The defaults are those of the published program."""

    gradient: float = 0.3
    """Limit for the change of score and of size, per unit of threshold."""
    smallest: float = 0.001
    largest: float = 0.95
    """Limits for the share of the picture that the mask covers, both exclusive."""


PROGRAM = Stability()
SCRIPT = Stability(0.4, 0.005, 0.9)  # passed by the published shell script


@dataclass(frozen=True)
class StableThreshold:
    """The threshold of one level."""

    threshold: float
    """In [0, 1] of the map's range; 0.5 without a stable range."""
    slope: float
    """Change of the score per unit of threshold over the stable range; 999 without one."""


@dataclass(frozen=True)
class Choice:
    """Level and threshold chosen for a phrase."""

    level: int
    threshold: float
    """In [0, 1] of that level's range."""


@torch.inference_mode()
def answer(relevancy: Float[Tensor, "levels h w"], stability: Stability = PROGRAM) -> Answer:
    """Answer one phrase at the level whose stable range is flattest, the first on ties.

    Raises:
        InputError: no threshold gives a mask within the size limits; the published program stops there too.
    """
    choice = choose(relevancy, stability)
    best = relevancy[choice.level]
    return Answer(
        level=choice.level,
        score=float(best.max()),
        relevancy=best,
        mask=majority(_unit_range(best) > choice.threshold),
        point_level=choice.level,
        points=(best == best.max()).nonzero().flip(-1),
    )


def choose(relevancy: Float[Tensor, "levels h w"], stability: Stability) -> Choice:
    """Level and threshold of one phrase."""
    found = [stable_threshold(_unit_range(level).cpu().numpy(), stability) for level in relevancy]
    level = int(np.argmin([one.slope for one in found]))
    return Choice(level, found[level].threshold)


def stable_threshold(stretched: Float[np.ndarray, "h w"], stability: Stability) -> StableThreshold:
    """The middle of the last range of thresholds over which score and size of the mask barely change.

    The score of a threshold is the mean of the values above it, 0 without any.
    """
    ordered = np.sort(stretched, axis=None).astype(np.float64)
    above = len(ordered) - np.searchsorted(ordered, THRESHOLDS.astype(stretched.dtype), side="right")
    sums = np.concatenate([[0.0], np.cumsum(ordered[::-1])])[above]
    score, size = sums / np.maximum(above, 1), above / len(ordered)
    fits = (size > stability.smallest) & (size < stability.largest)
    if not fits.any():
        raise InputError(
            f"No threshold gives a mask between {stability.smallest:g} and {stability.largest:g} of the picture, "
            "which the threshold of Occam's LGS needs. Take another rule."
        )
    calm = [median_filter(np.abs(np.gradient(values, THRESHOLDS)), MEDIAN) < stability.gradient for values in (score, size)]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], fits & calm[0] & calm[1], [False]])))
    ranges = [(start, stop) for start, stop in edges.reshape(-1, 2) if stop - start >= SHORTEST]
    if not ranges:
        return StableThreshold(0.5, 999.0)
    start, stop = ranges[-1]
    stop = min(stop, len(THRESHOLDS) - 1)
    length = THRESHOLDS[stop] - THRESHOLDS[start]
    return StableThreshold(float(THRESHOLDS[start] + THRESHOLDS[stop]) / 2, float(score[stop] - score[start]) / length)


def _unit_range(relevancy: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    shifted = relevancy - relevancy.min()
    return shifted / (shifted.max() + 1e-9)
