"""From a question to the instances of its phrases, with everything cached that does not depend on the phrases."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logit

from query.field import LanguageField
from query.objects.instances import THRESHOLDS, Instance, Neighbours, ThresholdRule, find_instances, threshold_of
from query.question import Question
from workspace import InputError

TIED = 0.2  # difference of the highest log-odds of relevancy up to which two levels answer a phrase equally well
MOST_NEIGHBOURS = 100  # of a mean: memory and time of the search grow with them, for every Gaussian


@dataclass(frozen=True, kw_only=True)
class InstanceOptions:
    """How Gaussians are selected and grouped into instances."""

    rule: ThresholdRule = "fixed"
    """How a Gaussian is selected: relevancy above --threshold; above that share of the range; or by Otsu's threshold, which is
    not let below it."""
    threshold: float = 0.5
    """In (0, 1); with the fixed rule, 0.5 means that a phrase beats every negative."""
    grow: float = 0.7
    """An instance extends to connected Gaussians above this share of the threshold; 1 for none."""
    neighbours: int = 10
    """Relevancy is the mean over this many nearest Gaussians, at most 100; 1 for none."""
    min_gaussians: int = 20
    """A group with fewer Gaussians above the threshold is no instance."""
    instances: int | None = None
    """Only so many instances of each phrase, best first."""

    def check(self) -> None:
        """Raise InputError for a value without a meaning."""
        if self.rule not in tuple(THRESHOLDS):
            raise InputError(f"--rule {self.rule}: expected {', '.join(THRESHOLDS)}.")
        if not (isinstance(self.threshold, Real) and 0 < self.threshold < 1):
            raise InputError(f"--threshold {self.threshold}: expected a value between 0 and 1.")
        if not (isinstance(self.grow, Real) and 0 < self.grow <= 1):
            raise InputError(f"--grow {self.grow}: expected a share of the threshold, above 0 and at most 1.")
        for name in ("neighbours", "min_gaussians", "instances"):
            value = getattr(self, name)
            unlimited = name == "instances" and value is None
            if not (unlimited or (isinstance(value, Integral) and value >= 1)):
                raise InputError(f"--{name} {value}: expected a whole number, 1 or more.")
        if self.neighbours > MOST_NEIGHBOURS:
            raise InputError(f"--neighbours {self.neighbours}: expected {MOST_NEIGHBOURS} or fewer.")


@dataclass(frozen=True)
class FoundPhrase:
    """The instances of one phrase, best first; none is an answer too."""

    phrase: str
    level: str
    """The level whose relevancy is highest."""
    instances: tuple[Instance, ...]
    best: float
    """Highest smoothed relevancy of any Gaussian."""

    def mask(self, num_gaussians: int) -> Bool[np.ndarray, " n"]:
        """True for the Gaussians of all instances."""
        return members_mask(self.instances, num_gaussians)


def members_mask(instances: Sequence[Instance], num_gaussians: int) -> Bool[np.ndarray, " n"]:
    """True for the Gaussians of any of the instances."""
    mask = np.zeros(num_gaussians, bool)
    for instance in instances:
        mask[instance.members] = True
    return mask


@dataclass(frozen=True, eq=False)
class PhraseRelevancy:
    """How much every Gaussian answers one phrase."""

    phrase: str
    level: str
    """The level whose relevancy is highest at any Gaussian, the first on ties."""
    values: Float[np.ndarray, " n"]
    """Relevancy in (0, 1), the mean over the nearest Gaussians; 0 for those without an embedding. Where other levels answer as
    well as the best one, the highest of them: the parts of a thing may answer at different levels."""
    best: float
    """The highest of them."""


class ObjectFinder:
    """Finds instances in one field. The neighbours of the Gaussians are searched once; a question then costs milliseconds."""

    def __init__(self, field: LanguageField):
        self.field = field
        self._neighbours: dict[int, Neighbours] = {}

    def find(self, question: Question, options: InstanceOptions, level: str | None = None) -> list[FoundPhrase]:
        """The instances of every phrase, at one `level` or at those that answer it best.

        Gaussians without an embedding are excluded.

        Raises:
            InputError: an option has no meaning, or there is no such level.
        """
        options.check()
        return [self.instances(one, options) for one in self.relevancy(question, options.neighbours, level)]

    def check_level(self, level: str | None) -> None:
        """Raise InputError unless the field has this level; None stands for the best."""
        if level is not None and level not in self.field.levels:
            raise InputError(f"There is no level {level!r}; this field has {', '.join(self.field.levels)}.")

    def relevancy(self, question: Question, neighbours: int, level: str | None = None) -> list[PhraseRelevancy]:
        """The smoothed relevancy of every phrase: the part of `find` that no threshold changes.

        Raises:
            InputError: there is no such level.
        """
        self.check_level(level)
        levels = range(len(self.field.levels)) if level is None else (self.field.levels.index(level),)
        relevancy = question.gaussian_relevancy.cpu().numpy()[self.known]
        return [
            self._relevancy(phrase, relevancy[..., place], levels, neighbours) for place, phrase in enumerate(question.phrases)
        ]

    def instances(self, answer: PhraseRelevancy, options: InstanceOptions) -> FoundPhrase:
        """The instances among the Gaussians whose relevancy is above the threshold; `options.neighbours` does not count."""
        values, index = answer.values[self.known], np.flatnonzero(self.known)
        threshold, floor = (threshold_of(values, options.rule, options.threshold * share) for share in (1.0, options.grow))
        geometry = self._means, self._scales, self._opacities
        found = find_instances(values, threshold, floor, options.min_gaussians, *geometry)
        instances = tuple(Instance(index[one.members], one.score) for one in found[: options.instances])
        return FoundPhrase(answer.phrase, answer.level, instances, answer.best)

    @cached_property
    def known(self) -> Bool[np.ndarray, " n"]:
        """True for Gaussians with an embedding at any level."""
        return self.field.known.any(1).cpu().numpy()

    @cached_property
    def _means(self) -> np.ndarray:
        return self.field.trained.gaussians.means.cpu().numpy()[self.known]

    @cached_property
    def _scales(self) -> np.ndarray:
        return self.field.trained.gaussians.scales.cpu().numpy()[self.known]

    @cached_property
    def _opacities(self) -> np.ndarray:
        return self.field.trained.gaussians.opacities.cpu().numpy()[self.known]

    def _relevancy(self, phrase: str, relevancy: np.ndarray, levels: Sequence[int], neighbours: int) -> PhraseRelevancy:
        if neighbours not in self._neighbours:
            self._neighbours = {neighbours: Neighbours(self._means, neighbours)}
        smooth = np.stack([self._neighbours[neighbours].smoothed(relevancy[:, level]) for level in levels])
        peaks = smooth.max(1, initial=0.0)
        odds = logit(np.clip(peaks, 1e-6, 1 - 1e-6))
        values = np.zeros(len(self.known), np.float32)
        values[self.known] = smooth[odds >= odds.max() - TIED].max(0)
        return PhraseRelevancy(phrase, self.field.levels[levels[int(np.argmax(peaks))]], values, float(peaks.max()))
