"""Answers judged by ground truth."""

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
    """An answer with its measures; None where there is no ground truth of it."""

    iou: float | None = None
    localized: bool | None = None
    argmax_iou: float | None = None
    """IoU of the pixels where this phrase beats all others (3D-OVS)."""
    shuffled_iou: float | None = None
    """Control: mean IoU of the masks of all other phrases with this phrase's truth."""
    shuffled_localized: float | None = None
    """Control: part of the other phrases whose point falls on this phrase's truth."""


def judge(
    answered: AnsweredView, truth: Truth, classes: Sequence[str] = (), control: bool = False
) -> tuple[dict[str, JudgedRow], dict[str, Verdict]]:
    """Measures of every answer that the truth knows, and what the report shows of them, by phrase.

    Args:
        answered: the answers in one view.
        truth: of that view.
        classes: the phrases whose indices `answered.classes` holds.
        control: also judge every phrase by the answers to all others.
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
