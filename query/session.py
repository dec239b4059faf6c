"""A trained scene opened for queries, and the settings shared by all query commands."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from features.registry import text_encoder
from features.text import TextOptions
from query.calibration import Calibration, read_calibration
from query.field import LanguageField, Negatives
from query.loading import load_field
from query.phrases import PhraseMemory
from query.question import Compare, Question, Reading
from scene.dataset import Scene
from workspace import ModelFolder
from workspace.device import Device, chosen_device

log = logging.getLogger(__name__)

NEGATIVES_KEPT = 4  # sets of negatives; the scores of one take 48 MB for a million Gaussians


@dataclass(frozen=True, kw_only=True)
class SessionConfig(TextOptions):
    """Settings of every command that asks a trained scene."""

    source_path: Annotated[Path | None, tyro.conf.arg(aliases=["-s"])] = None
    """Scene folder; by default the one the model was trained from. For a scene that was moved since."""
    field: str | None = None
    """Which language field of the model folder; when not given the only one, else published."""
    device: Device = "auto"
    """auto takes the GPU when there is one."""


@dataclass(frozen=True, kw_only=True)
class RelevancyConfig(SessionConfig):
    """Settings of every command that measures phrases against negatives."""

    negatives: tuple[str, ...] = ()
    """Phrases that stand for everything else, instead of the recorded ones: object, things, stuff, texture."""


@dataclass(frozen=True, kw_only=True)
class ViewQueryConfig(RelevancyConfig):
    """Settings of every command that looks for phrases in views."""

    text: tuple[str, ...] = ()
    """Phrases to look for, each in quotes; one that begins with a dash needs a space before it."""
    names: tuple[str, ...] = ()
    """Only these images: names below images/ without extension, or their last part where it is unique."""
    level: str | None = None
    """Look at one level (default, s, m, l, grid) instead of choosing the best for every phrase and view."""
    reading: Reading = "protocol"
    """How a view is read. protocol: the rendered embedding, normalised at every pixel, as benchmarks are measured. fast: the
    rendered scores. gaussian: relevancy per Gaussian, rendered. Figures of two readings do not compare (docs/protocols.md)."""
    compare: Compare = "decoded"
    """Compare phrases with decoded features, or in the compressed space without negatives, as DinoSplat does."""
    resolution: Annotated[int | None, tyro.conf.arg(aliases=["-r"])] = None
    """Size of the views: 1, 2, 4, 8 divide, other values are a width in pixels; by default as in training."""


@dataclass(frozen=True)
class Session:
    """One model's language field, its scene, and the phrases encoded so far."""

    config: SessionConfig
    field: LanguageField
    scene: Scene
    device: torch.device
    _known_negatives: dict[tuple[str, ...], Negatives] = field(default_factory=dict)

    @classmethod
    def open(
        cls, config: SessionConfig, model: ModelFolder, level: str | None = None, resolution: int | None = None
    ) -> "Session":
        """Load the field of `model` that `config` names, at one `level` or all levels, and the scene's cameras at `resolution`.

        Raises:
            InputError: no finished language field of that name or level, or the scene is missing.
        """
        device = chosen_device(config.device)
        language = load_field(model.reading(config.field), device, level)
        return cls(config, language, language.trained.scene(config.source_path, resolution), device)

    @property
    def model(self) -> ModelFolder:
        """The model folder, with the chosen field."""
        return self.field.trained.folder

    @cached_property
    def memory(self) -> PhraseMemory:
        """The text encoder of the field's features, loaded on the first phrase."""
        encoder = text_encoder(self.field.features, self.device, self.config)
        return PhraseMemory(encoder, self.device)

    def question(
        self,
        phrases: Sequence[str],
        negatives: Sequence[str] = (),
        classes: Sequence[str] = (),
        reading: Reading = "protocol",
        compare: Compare = "decoded",
    ) -> Question:
        """The phrases, and the `classes` that compete for every pixel, ready to be compared with the field.

        `negatives` default to the calibrated ones, else to those of the features.

        Raises:
            InputError: weights of the text encoder are missing, or its space is not the field's.
        """
        phrases = tuple(dict.fromkeys([*phrases, *classes]))
        embeddings = self.memory.embed(phrases)
        return Question(self.field, phrases, embeddings, self._negatives(tuple(negatives)), reading, compare, tuple(classes))

    @cached_property
    def calibration(self) -> Calibration | None:
        """Values that `evaluation.calibration` recorded with the field; they come after flags and before the encoder's."""
        found = read_calibration(self.model)
        if found is not None:
            log.info("Calibrated relevancy: %s (%s)", found, self.model.calibration)
        return found

    def relevancy(self, negatives: Sequence[str] = ()) -> dict[str, Any]:
        """Temperature and negatives of a question with these `negatives`, for records and outputs."""
        kept = self.calibration or self.memory
        return {
            "temperature": self.config.temperature or kept.temperature,
            "negatives": list(negatives or kept.negatives),
        }

    def _negatives(self, phrases: tuple[str, ...]) -> Negatives:
        used = self.relevancy(phrases)
        key = tuple(used["negatives"])
        if key not in self._known_negatives:
            while len(self._known_negatives) >= NEGATIVES_KEPT:
                self._known_negatives.pop(next(iter(self._known_negatives)))
            self._known_negatives[key] = Negatives(self.field, self.memory.embed(key), used["temperature"])
        return self._known_negatives[key]
