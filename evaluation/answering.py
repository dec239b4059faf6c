"""One view answered: code maps, relevancy, answers to every phrase, and their judgement where there is ground truth."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from evaluation.labels import Truth
from evaluation.rules import Rule
from evaluation.scores import Row
from evaluation.tasks import Task
from query.answer import Answer, intersection_over_union
from query.field import LanguageField
from query.question import Question

RELEVANCY_BYTES = 2 << 30  # relevancy maps held at once; more phrases than fit are asked in groups


@dataclass(frozen=True)
class AnsweredView:
    """Answers in one view; `rows` holds those that were asked for, `answers` also those of the control."""

    task: Task
    rows: list[Row]
    answers: Mapping[str, Answer]
    classes: Int[np.ndarray, "h w"] | None
    """Index of the class that beats all others; -1 where there is no Gaussian. None unless classes were given."""


class Stopwatch:
    """Seconds per part of the work, waiting for the device at each reading."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: Counter[str] = Counter()
        self._last = time.perf_counter()

    def restart(self) -> None:
        """Forget the time since the last reading."""
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Book the time since the last reading under `part`."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


def answer_view(
    field: LanguageField,
    question: Question,
    task: Task,
    phrases: Sequence[str],
    classes: Sequence[str],
    rule: Rule,
    control: bool,
    watch: Stopwatch,
) -> AnsweredView:
    """Answer `phrases` in one view.

    Args:
        field: the scene's language field.
        question: knows every phrase, and those of the control.
        task: the view.
        phrases: what to report.
        classes: phrases that compete for every pixel; none for no painting.
        rule: from the maps of a phrase to its mask and point.
        control: also judge every phrase by the truth of the others.
        watch: takes the times of render, relevancy and answer.
    """
    truth = task.truth
    asked = question.phrases if control else tuple(dict.fromkeys([*phrases, *classes]))
    watch.restart()
    codes = field.code_maps(task.camera)
    watch.lap("render")
    answers: dict[str, Answer] = {}
    rivals: dict[str, Tensor] = {}
    at_once = max(1, RELEVANCY_BYTES // (4 * codes[:, 0].numel()))
    for group in (asked[i : i + at_once] for i in range(0, len(asked), at_once)):
        relevancy = question.only(group).relevancy(codes)
        watch.lap("relevancy")
        for i, phrase in enumerate(group):
            answers[phrase] = rule(relevancy[:, i])
            if phrase in classes:
                rivals[phrase] = relevancy[answers[phrase].level, i].clone()
        watch.lap("answer")
    painted = winners([rivals[name] for name in classes], codes.ne(0).any(1).any(0)) if classes else None
    rows = []
    for phrase in phrases:
        judgement = {}
        if truth is not None and phrase in truth.phrases:
            argmax = painted == classes.index(phrase) if painted is not None and phrase in classes else None
            judgement = _judge(phrase, truth, answers, argmax, [name for name in asked if name != phrase] if control else [])
        rows.append(_row(task, field.levels, phrase, answers[phrase], judgement))
    return AnsweredView(task, rows, answers, None if painted is None else painted.cpu().numpy())


def winners(maps: Sequence[Float[Tensor, "h w"]], covered: Bool[Tensor, "h w"]) -> Int[Tensor, "h w"]:
    """Index of the map with the largest value at every pixel, the first of equals; -1 where not `covered`."""
    return torch.stack(list(maps)).argmax(0).where(covered, -1)


def _judge(
    phrase: str, truth: Truth, answers: Mapping[str, Answer], argmax: Bool[Tensor, "h w"] | None, others: Sequence[str]
) -> dict[str, float | bool]:
    found = answers[phrase]
    height, width = found.mask.shape
    mask = torch.from_numpy(truth.mask(phrase, width, height)).to(found.mask.device)
    judgement: dict[str, float | bool] = {
        "iou": intersection_over_union(found.mask, mask),
        "localized": truth.hit(phrase, found.points, width, height),
    }
    if argmax is not None:
        judgement["argmax_iou"] = intersection_over_union(argmax, mask)
    if others:
        judgement["shuffled_iou"] = float(np.mean([intersection_over_union(answers[name].mask, mask) for name in others]))
        judgement["shuffled_localized"] = float(
            np.mean([truth.hit(phrase, answers[name].points, width, height) for name in others])
        )
    return judgement


def _row(task: Task, levels: Sequence[str], phrase: str, found: Answer, judgement: Mapping[str, float | bool]) -> Row:
    return Row(
        image=task.camera.name,
        split=task.split,
        phrase=phrase,
        level=levels[found.level],
        score=found.score,
        point=found.point,
        point_level=levels[found.point_level],
        ties=len(found.points),
        area=float(found.mask.float().mean()),
        **judgement,
    )
