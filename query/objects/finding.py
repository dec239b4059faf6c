"""From a question to the instances of its phrases, with everything cached that does not depend on the phrases."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from query.field import LanguageField
from query.objects.instances import Instance, Neighbours, ThresholdRule, find_instances, selected
from query.question import Question
from workspace import InputError


@dataclass(frozen=True, kw_only=True)
class InstanceOptions:
    """How Gaussians are selected and grouped into instances."""

    rule: ThresholdRule = "fixed"
    """How a Gaussian is selected: relevancy above --threshold; above that share of the range; or by Otsu's threshold, which is
    not let below it."""
    threshold: float = 0.5
    """In (0, 1); with the fixed rule, 0.5 means that a phrase beats every negative."""
    neighbours: int = 10
    """Relevancy is the mean over this many nearest Gaussians; 1 for none."""
    min_gaussians: int = 20
    """Smaller groups are no instance."""
    instances: int | None = None
    """Only so many instances of each phrase, best first."""

    def check(self) -> None:
        """Raise InputError for a value without a meaning."""
        if not 0 < self.threshold < 1:
            raise InputError(f"--threshold {self.threshold}: expected a value between 0 and 1.")
        for name in ("neighbours", "min_gaussians", "instances"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name} {value}: expected 1 or more.")


@dataclass(frozen=True)
class FoundPhrase:
    """The instances of one phrase, best first; none is an answer too."""

    phrase: str
    level: str
    """The level whose smoothed relevancy is highest at any Gaussian, the first on ties."""
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


class ObjectFinder:
    """Finds instances in one field. The neighbours of the Gaussians are searched once; a question then costs milliseconds."""

    def __init__(self, field: LanguageField):
        self.field = field
        self._neighbours: dict[int, Neighbours] = {}

    def find(self, question: Question, options: InstanceOptions, level: str | None = None) -> list[FoundPhrase]:
        """The instances of every phrase, at one `level` or at the one that answers each phrase best.

        Gaussians without an embedding are excluded.

        Raises:
            InputError: an option has no meaning, or there is no such level.
        """
        options.check()
        if level is not None and level not in self.field.levels:
            raise InputError(f"There is no level {level!r}; this field has {', '.join(self.field.levels)}.")
        levels = range(len(self.field.levels)) if level is None else (self.field.levels.index(level),)
        relevancy = question.gaussian_relevancy.cpu().numpy()[self.known]
        return [self._find(phrase, relevancy[..., place], levels, options) for place, phrase in enumerate(question.phrases)]

    @cached_property
    def known(self) -> Bool[np.ndarray, " n"]:
        """True for Gaussians with an embedding at any level."""
        return self.field.known.any(1).cpu().numpy()

    @cached_property
    def _means(self) -> np.ndarray:
        return self.field.trained.gaussians.means.cpu().numpy()[self.known]

    @cached_property
    def _opacities(self) -> np.ndarray:
        return self.field.trained.gaussians.opacities.cpu().numpy()[self.known]

    def _find(self, phrase: str, relevancy: np.ndarray, levels: Sequence[int], options: InstanceOptions) -> FoundPhrase:
        if options.neighbours not in self._neighbours:
            self._neighbours = {options.neighbours: Neighbours(self._means, options.neighbours)}
        smooth = [self._neighbours[options.neighbours].smoothed(relevancy[:, level]) for level in levels]
        peaks = [float(values.max()) if len(values) else 0.0 for values in smooth]
        best = int(np.argmax(peaks))
        chosen = selected(smooth[best], options.rule, options.threshold)
        found = find_instances(smooth[best], chosen, self._means, self._opacities, options.min_gaussians)[: options.instances]
        index = np.flatnonzero(self.known)
        instances = tuple(Instance(index[one.members], one.score) for one in found)
        return FoundPhrase(phrase, self.field.levels[levels[best]], instances, peaks[best])
