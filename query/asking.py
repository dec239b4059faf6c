"""One view answered: code maps, relevancy, and the answer to every phrase."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from query.answer import Answer, Rule
from query.field import LanguageField
from query.question import Question
from query.views import Split, View

RELEVANCY_BYTES = 2 << 30  # relevancy maps held at once; more phrases than fit are asked in groups


@dataclass(frozen=True)
class Row:
    """The answer to one phrase in one view, as numbers."""

    image: str
    split: Split
    phrase: str
    level: str
    score: float
    """Peak of the smoothed relevancy, in (0, 1)."""
    point: tuple[int, int]
    """x, y in pixels of the view."""
    point_level: str
    ties: int
    """Pixels that share the maximum; more than one means a map without contrast."""
    area: float
    """Part of the view that the mask covers, in [0, 1]."""


@dataclass(frozen=True)
class AnsweredView:
    """The answers in one view, by phrase."""

    view: View
    levels: tuple[str, ...]
    """Names of the levels that were asked."""
    answers: Mapping[str, Answer]
    classes: Int[np.ndarray, "h w"] | None = None
    """Index of the class that beats all others; -1 where there is no Gaussian. None when no phrases compete."""

    def only(self, phrases: Iterable[str]) -> "AnsweredView":
        """The same view with the answers to these phrases, in this order."""
        return replace(self, answers={phrase: self.answers[phrase] for phrase in phrases})

    @property
    def rows(self) -> list[Row]:
        """The answers as numbers."""
        return [self._row(phrase, answer) for phrase, answer in self.answers.items()]

    def _row(self, phrase: str, answer: Answer) -> Row:
        return Row(
            image=self.view.name,
            split=self.view.split,
            phrase=phrase,
            level=self.levels[answer.level],
            score=answer.score,
            point=answer.point,
            point_level=self.levels[answer.point_level],
            ties=len(answer.points),
            area=float(answer.mask.float().mean()),
        )


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


def answer_view(field: LanguageField, question: Question, view: View, rule: Rule, watch: Stopwatch) -> AnsweredView:
    """Answer every phrase of the question in one view.

    Args:
        field: the scene's language field.
        question: the phrases, and those among them that compete for every pixel.
        view: where to look.
        rule: from the relevancy maps of a phrase to its mask and point.
        watch: takes the times of render, relevancy and answer.
    """
    watch.restart()
    codes = field.code_maps(view.camera)
    watch.lap("render")
    answers: dict[str, Answer] = {}
    rivals: dict[str, Tensor] = {}
    at_once = max(1, RELEVANCY_BYTES // (4 * codes[:, 0].numel()))
    for group in (question.phrases[i : i + at_once] for i in range(0, len(question.phrases), at_once)):
        relevancy = question.relevancy(codes, group)
        watch.lap("relevancy")
        for i, phrase in enumerate(group):
            answers[phrase] = rule(relevancy[:, i])
            if phrase in question.classes:
                rivals[phrase] = relevancy[answers[phrase].level, i].clone()
        watch.lap("answer")
    painted = None
    if question.classes:
        painted = winners([rivals[name] for name in question.classes], codes.ne(0).any(1).any(0)).cpu().numpy()
    return AnsweredView(view, field.levels, answers, painted)


def winners(maps: Sequence[Float[Tensor, "h w"]], covered: Bool[Tensor, "h w"]) -> Int[Tensor, "h w"]:
    """Index of the map with the largest value at every pixel, the first of equals; -1 where not `covered`."""
    return torch.stack(list(maps)).argmax(0).where(covered, -1)
