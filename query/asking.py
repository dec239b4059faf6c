"""Answers of one view: rendering, relevancy, and the answer to every phrase."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from query.answer_rule import Answer, Rule
from query.field import FieldView
from query.question import Question
from query.relevancy import BEATS_NEGATIVES
from query.views import Split, View
from workspace.clock import Clock

COVERED = 0.5  # share of a pixel that Gaussians with an embedding must cover
RELEVANCY_BYTES = 2 << 30  # memory limit of relevancy maps; phrases are processed in groups that fit


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
    """Share of the view that the mask covers, in [0, 1]."""
    present: bool | None
    """Whether the phrase beats every negative at any pixel; None without negatives."""


@dataclass(frozen=True)
class AnsweredView:
    """The answers in one view, by phrase."""

    view: View
    levels: tuple[str, ...]
    """Names of the queried levels."""
    answers: Mapping[str, Answer]
    classes: Int[np.ndarray, "h w"] | None = None
    """Index of the class with the highest relevancy; -1 where there is no Gaussian. None when no phrases compete."""

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
            present=answer.present,
        )


def answer_view(question: Question, view: View, phrases: Sequence[str], rule: Rule, clock: Clock) -> AnsweredView:
    """Answer phrases of a question in one view, and assign each pixel to one of the competing phrases.

    Args:
        question: phrases, negatives and field.
        view: the camera to render.
        phrases: a subset of the question's phrases.
        rule: maps the relevancy maps of a phrase to its mask and point.
        clock: records the times of render, relevancy and answer.
    """
    asked = tuple(dict.fromkeys([*phrases, *question.classes]))
    with clock.part("render"):
        seen = question.field.view(view.camera)
        seen.prepare(question.reading == "protocol")
    answers: dict[str, Answer] = {}
    rivals: dict[str, Tensor] = {}
    pixels = len(question.field.levels) * view.camera.height * view.camera.width
    at_once = max(1, RELEVANCY_BYTES // (4 * pixels))
    for group in (asked[i : i + at_once] for i in range(0, len(asked), at_once)):
        with clock.part("relevancy"):
            relevancy = question.relevancy(seen, group)
        with clock.part("answer"):
            for i, phrase in enumerate(group):
                answers[phrase] = _answer(relevancy[:, i], rule, question, seen)
                if phrase in question.classes:
                    rivals[phrase] = relevancy[answers[phrase].level, i].clone()
    painted = None
    if question.classes:
        painted = winners([rivals[name] for name in question.classes], seen.coverage.gt(0).any(0)).cpu().numpy()
    return AnsweredView(view, question.field.levels, answers, painted)


def _answer(relevancy: Float[Tensor, "levels h w"], rule: Rule, question: Question, view: FieldView) -> Answer:
    """The rule's answer. Except in the published protocol, a mask is limited to pixels at least half covered."""
    found = rule(relevancy)
    if question.compare == "decoded":
        found = replace(found, present=bool(relevancy.max() > BEATS_NEGATIVES))
    if question.reading == "protocol":
        return found
    return replace(found, mask=found.mask & (view.coverage[found.level] >= COVERED))


def winners(maps: Sequence[Float[Tensor, "h w"]], covered: Bool[Tensor, "h w"]) -> Int[Tensor, "h w"]:
    """Index of the map with the largest value at every pixel, the first on ties; -1 where not `covered`."""
    return torch.stack(list(maps)).argmax(0).where(covered, -1)
