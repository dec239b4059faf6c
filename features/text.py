"""Phrases as vectors in the space of a scene's features, whichever extractor made them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from features import mini
from features.clip import ClipEncoder
from features.record import mini_weights_hash
from features.talk2dino import Talk2DinoText
from workspace import InputError
from workspace.records import FeatureSettings

NEGATIVES = ("object", "things", "stuff", "texture")  # the canonical phrases every query is measured against


@runtime_checkable
class TextEncoder(Protocol):
    """What a query needs of a text encoder."""

    negatives: tuple[str, ...]
    width: int

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase."""


class _ClipText:
    negatives = NEGATIVES

    def __init__(self, model: str, pretrained: str | None, device: torch.device | str):
        self._clip = ClipEncoder(model, pretrained, device)
        self.width = self._clip.width

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        return self._clip.embed_text(phrases)


class _DinoText(Talk2DinoText):
    negatives = NEGATIVES


def text_encoder(
    settings: FeatureSettings,
    device: torch.device | str,
    talk2dino_ckpt: Path | None = None,
    clip_pretrained: str | None = None,
) -> TextEncoder:
    """Text encoder whose vectors can be compared with the features made with `settings`, those of the features stage.

    `clip_pretrained` is where OpenCLIP's weights are now, when not where they were.

    Raises:
        InputError: weights are missing; for DINOv2 features that includes `talk2dino_ckpt`.
    """
    features = settings.features
    if features == "sam_clip":
        return _ClipText(settings.clip_model, clip_pretrained or settings.clip_pretrained, device)
    if features in ("mini", "mini_dense"):
        made, present = settings.mini_weights, mini_weights_hash()
        if made != present:
            raise InputError(
                f"The features were made with bundled weights {made}, the code now brings {present}: their spaces differ. "
                f"Run: python preprocess.py -s <scene> --features {features} --overwrite, and the stages after it."
            )
        return _ClipText(mini.MODEL, None, device)
    return _DinoText(talk2dino_ckpt, device, clip_pretrained)
