"""Phrases as vectors in the space of a scene's features: what every text encoder offers, and CLIP's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from features.clip import ClipEncoder

NEGATIVES = ("object", "things", "stuff", "texture")  # the canonical phrases every query is measured against


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Where the weights of text encoders are."""

    talk2dino_ckpt: Path | None = None
    """Talk2DINO weights, for DINOv2 features."""
    talk2dino_templates: Literal[7, 80] = 7
    """Prompt templates averaged for them: CLIP's short list, as published, or OpenAI's 80."""
    clip_pretrained: str | None = None
    """OpenCLIP weights of the phrases, as in preprocess.py: a file for a machine that cannot fetch, or that moved since."""


@runtime_checkable
class TextEncoder(Protocol):
    """What a query needs of a text encoder."""

    negatives: tuple[str, ...]
    width: int

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase."""


class ClipText:
    """Text tower of an OpenCLIP model; a phrase is encoded as it stands."""

    negatives = NEGATIVES

    def __init__(self, model: str, pretrained: str | None, device: torch.device | str):
        self._clip = ClipEncoder(model, pretrained, device)
        self.width = self._clip.width

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase."""
        return self._clip.embed_text(phrases)
