"""Text vectors in the space of a scene's features: the interface of text encoders, and CLIP's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from features.clip import ClipEncoder
from workspace import InputError

NEGATIVES = ("object", "things", "stuff", "texture")  # the canonical negatives of every query
TEMPERATURE = 10.0  # of the published relevancy; with the negatives it is calibrated for CLIP


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Where the weights of text encoders are."""

    talk2dino_ckpt: Path | None = None
    """Talk2DINO weights, for DINOv2 features."""
    talk2dino_templates: Literal[7, 80] = 7
    """Prompt templates averaged for them: CLIP's short list, as published, or OpenAI's 80."""
    clip_pretrained: str | None = None
    """OpenCLIP weights of the phrases, as in preprocess.py: a file for a machine that cannot fetch, or that moved since."""
    temperature: float | None = None
    """Factor of the cosines in relevancy, instead of the one recorded with the features."""

    def __post_init__(self):
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise InputError(f"--temperature {self.temperature:g} is no number above 0; the published one is {TEMPERATURE:g}.")


@runtime_checkable
class TextEncoder(Protocol):
    """Interface of a text encoder for queries."""

    negatives: tuple[str, ...]
    temperature: float
    """Factor of the cosines in relevancy; above 0."""
    width: int

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase."""


class ClipText:
    """Text tower of an OpenCLIP model; phrases are encoded without a template."""

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        device: torch.device | str,
        negatives: tuple[str, ...] = NEGATIVES,
        temperature: float = TEMPERATURE,
    ):
        self._clip = ClipEncoder(model, pretrained, device)
        self.width = self._clip.width
        self.negatives = negatives
        self.temperature = temperature

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase."""
        return self._clip.embed_text(phrases)
