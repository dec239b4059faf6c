"""Answers compared with ground truth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from evaluation.labels import Truth
from evaluation.overlap import intersection_over_union, pairwise_overlap
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
    answered: AnsweredView, truth: Truth, classes: Sequence[str] = (), control: Sequence[str] = ()
) -> tuple[dict[str, JudgedRow], dict[str, Verdict]]:
    """Measures of every answer that has ground truth, and their summary for the report, by phrase.

    Args:
        answered: the answers in one view.
        truth: ground truth of that view.
        classes: the phrases that the indices in `answered.classes` refer to.
        control: answered phrases with whose answers the ground truth of each other phrase is compared too.
    """
    rows, verdicts = {row.phrase: JudgedRow(**asdict(row)) for row in answered.rows}, {}
    phrases = [phrase for phrase in rows if phrase in truth.phrases]
    if not phrases:
        return rows, verdicts
    height, width = next(iter(answered.answers.values())).mask.shape
    drawn = [truth.mask(phrase, width, height) for phrase in phrases]
    found = torch.stack([answer.mask for answer in answered.answers.values()])
    masks = torch.from_numpy(np.stack(drawn)).to(found.device)
    judged = list(answered.answers)
    overlaps = pairwise_overlap(found, masks)
    for column, phrase in enumerate(phrases):
        row = judged.index(phrase)
        iou, hit = float(overlaps[row, column]), truth.hit(phrase, answered.answers[phrase].points, width, height)
        measures = {"iou": iou, "localized": hit}
        if answered.classes is not None and phrase in classes:
            argmax = torch.from_numpy(answered.classes).to(masks.device) == classes.index(phrase)
            measures["argmax_iou"] = intersection_over_union(argmax, masks[column])
        others = [name for name in control if name != phrase]
        if others:
            points = [answered.answers[name].points for name in others]
            measures["shuffled_iou"] = float(overlaps[[judged.index(name) for name in others], column].mean())
            measures["shuffled_localized"] = float(np.mean([truth.hit(phrase, point, width, height) for point in points]))
        rows[phrase] = replace(rows[phrase], **measures)
        verdicts[phrase] = Verdict(iou, hit, drawn[column])
    return rows, verdicts
