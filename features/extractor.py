"""Interface of extractors: a function from a picture to its features, its settings, and the text encoder of its space."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from features.feature_store import FeatureStore, ImageFeatures
from features.text import TextEncoder, TextOptions
from workspace import SceneFolder
from workspace.record_types import FeatureSettings, Tokens

Step = Callable[..., object]  # maps the result of the previous step to its own
Options = TypeVar("Options")  # flags of one extractor


@dataclass(frozen=True)
class Extractor:
    """Features of an RGB picture [h, w, 3], in named steps that are timed one by one.

    The first step takes the picture, every other step the result of the previous one; the last returns the features.
    Results of steps are on the CPU.
    """

    steps: Mapping[str, Step]
    first_step_in_processes: bool = False
    """Whether the first step can be pickled and keeps one core busy, so that several pictures go through it at once."""
    takes_key: bool = False
    """Whether the first step also takes the image's key, for example to read files."""

    def of(self, key: str) -> list[tuple[str, Step]]:
        """The named steps for image `key`."""
        (name, first), *rest = self.steps.items()
        return [(name, partial(first, key=key) if self.takes_key else first), *rest]

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], key: str = "") -> ImageFeatures:
        """All steps, one after the other."""
        value = image
        for _, step in self.of(key):
            value = step(value)
        return value


class ExtractorSpec(ABC, Generic[Options]):
    """One choice of `--features`: its settings, networks and text encoder.

    Attributes:
        store: Kind of features it computes.
        embeddings: Whether they are stored as the network returns them or with unit length.
        segmenters: The supported choices of `--segmenter`.
        text_options: Names of the `TextOptions` that its text encoder uses; others are refused. None: all are handed on.
        options: Its flags, a frozen dataclass with `kw_only` that the configuration of stage 1 inherits, or None.
    """

    store: ClassVar[type[FeatureStore]]
    embeddings: ClassVar[Tokens] = "unit"
    segmenters: ClassVar[tuple[str, ...]] = ()
    text_options: ClassVar[tuple[str, ...] | None] = None
    options: ClassVar[type | None] = None

    @abstractmethod
    def settings(self, options: Options) -> dict[str, object]:
        """Settings that change the result, for the record; InputError when `options` are out of range."""

    def resolution(self, given: int, options: Options) -> int:
        """Size of the pictures it takes, as in `scene.picture_size`, when the user asks for `given`."""
        return given

    @abstractmethod
    def load(self, options: Options, device: torch.device) -> Extractor:
        """The extractor with its networks; InputError when weights are missing or damaged."""

    @abstractmethod
    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> TextEncoder:
        """Text encoder of the space of features made with `settings`; InputError when weights are missing or changed."""

    def announce(self, options: Options, scene: SceneFolder) -> None:  # noqa: B027 - optional
        """Log what the user should know before the first picture."""
