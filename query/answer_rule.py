"""From relevancy maps to an answer: the level, the mask, the point. LangSplat's published LERF-OVS procedure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from query.filters import box_mean, majority


@dataclass(frozen=True)
class Answer:
    """Location of one phrase in one view. Levels are indices into the queried levels; relevancy is in (0, 1)."""

    level: int
    """Level of the mask: the one whose smoothed relevancy peaks highest."""
    score: float
    """That peak."""
    relevancy: Float[Tensor, "h w"]
    """Smoothed relevancy of that level."""
    mask: Bool[Tensor, "h w"]
    point_level: int
    """Level of the point, chosen independently of the mask."""
    points: Int[Tensor, "k 2"]
    """Every pixel (x, y) that reaches the maximum of the box mean; one, unless the map has a plateau."""

    present: bool | None = None
    """Whether the phrase is present: at the peak of its unsmoothed relevancy it beats every negative. The mask cannot show
    this, since the rule yields a mask for nearly every map. None without negatives."""

    @property
    def point(self) -> tuple[int, int]:
        """The middle one of the points, as (x, y) pixel indices; the first pixel where there is none."""
        if not len(self.points):
            return 0, 0
        x, y = self.points[len(self.points) // 2].tolist()
        return x, y


Rule: TypeAlias = Callable[[Float[Tensor, "levels h w"]], Answer]
"""Maps the relevancy maps of a phrase, one per level, to its answer."""


@torch.inference_mode()
def answer(relevancy: Float[Tensor, "levels h w"], mask_thresh: float = 0.4) -> Answer:
    """Answer one phrase from its relevancy maps.

    Args:
        relevancy: one map per level.
        mask_thresh: in [0, 1), on the rescaled relevancy (see `threshold`). It does not affect the point.
    """
    return answer_from(relevancy, box_mean(relevancy), lambda smoothed: threshold(smoothed, mask_thresh))


def answer_from(
    relevancy: Float[Tensor, "levels h w"],
    means: Float[Tensor, "levels h w"],
    mask_of: Callable[[Float[Tensor, "h w"]], Bool[Tensor, "h w"]],
) -> Answer:
    """The answer given the local `means` of the relevancy maps and the rule that cuts a mask from the smoothed map."""
    smoothed = (relevancy + means) / 2
    peaks = smoothed.amax((-2, -1))
    level = int(peaks.argmax())
    point_level = int(means.amax((-2, -1)).argmax())
    best = means[point_level]
    return Answer(
        level=level,
        score=float(peaks[level]),
        relevancy=smoothed[level],
        mask=mask_of(smoothed[level]),
        point_level=point_level,
        points=(best == best.max()).nonzero().flip(-1),
    )


def threshold(smoothed: Float[Tensor, "h w"], mask_thresh: float) -> Bool[Tensor, "h w"]:
    """Mask of a smoothed relevancy map: rescaled from its range to [-1, 1], thresholded at `mask_thresh`, majority-filtered."""
    return majority(stretched(smoothed) > mask_thresh)


def stretched(smoothed: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """A map rescaled from its range to [-1, 1], what is negative cut to 0."""
    shifted = smoothed - smoothed.min()
    return (2 * (shifted / (shifted.max() + 1e-9)) - 1).clamp(0, 1)
