"""Answers compared with ground truth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from evaluation.labels import Truth
from evaluation.overlap import intersection_over_union
from query.asking import AnsweredView, Row
from query.report import Verdict


@dataclass(frozen=True)
class JudgedRow(Row):
    """An answer with its measures; None where the phrase has no ground truth."""

    iou: float | None = None
    localized: bool | None = None
    argmax_iou: float | None = None
    """IoU of the pixels where this phrase scores highest (3D-OVS)."""
    shuffled_iou: float | None = None
    """Control: mean IoU between the masks of all other phrases and this phrase's ground truth."""
    shuffled_localized: float | None = None
    """Control: share of the other phrases whose point hits this phrase's ground truth."""


def judge(
    answered: AnsweredView, truth: Truth, classes: Sequence[str] = (), control: bool = False
) -> tuple[dict[str, JudgedRow], dict[str, Verdict]]:
    """Measures of every answer that has ground truth, and their summary for the report, by phrase.

    Args:
        answered: the answers in one view.
        truth: ground truth of that view.
        classes: the phrases that the indices in `answered.classes` refer to.
        control: also compare each phrase's ground truth with the answers to all other phrases.
    """
    rows, verdicts = {}, {}
    for row in answered.rows:
        if row.phrase not in truth.phrases:
            rows[row.phrase] = JudgedRow(**asdict(row))
            continue
        found = answered.answers[row.phrase]
        height, width = found.mask.shape
        drawn = truth.mask(row.phrase, width, height)
        mask = torch.from_numpy(drawn).to(found.mask.device)
        overlap = intersection_over_union(found.mask, mask)
        hit = truth.hit(row.phrase, found.points, width, height)
        measures = {"iou": overlap, "localized": hit}
        if answered.classes is not None and row.phrase in classes:
            argmax = torch.from_numpy(answered.classes).to(mask.device) == classes.index(row.phrase)
            measures["argmax_iou"] = intersection_over_union(argmax, mask)
        others = [other for phrase, other in answered.answers.items() if phrase != row.phrase] if control else []
        if others:
            measures["shuffled_iou"] = float(np.mean([intersection_over_union(other.mask, mask) for other in others]))
            measures["shuffled_localized"] = float(
                np.mean([truth.hit(row.phrase, other.points, width, height) for other in others])
            )
        rows[row.phrase] = JudgedRow(**asdict(row), **measures)
        verdicts[row.phrase] = Verdict(overlap, hit, drawn)
    return rows, verdicts
