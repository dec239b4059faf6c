"""Phrases made ready for one field: encoded once, then compared with any number of code maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from features.text import TextEncoder
from query.relevancy import latent_similarity, relevancy_maps
from workspace import InputError

Compare = Literal["decoded", "latent"]


def refuse_blank(*phrases: str) -> None:
    """InputError when one of the phrases has no letter to look for."""
    if not all(phrase.strip() for phrase in phrases):
        raise InputError("An empty phrase means nothing; leave it out.")


@dataclass(frozen=True)
class Question:
    """Phrases, negatives, and the way they are compared with rendered codes."""

    phrases: tuple[str, ...]
    embeddings: Float[Tensor, "p d"]
    negatives: Float[Tensor, "n d"]
    compressor: Compressor
    compare: Compare

    @classmethod
    def encode(
        cls,
        phrases: Sequence[str],
        encoder: TextEncoder,
        compressor: Compressor,
        device: torch.device,
        negatives: Sequence[str] = (),
        compare: Compare = "decoded",
    ) -> "Question":
        """Encode `phrases`, and `negatives` or the canonical ones when none are given.

        Raises:
            InputError: the text encoder's space is not the compressor's.
        """
        phrases = tuple(dict.fromkeys(phrases))
        embeddings = encoder.embed(phrases).to(device)
        if embeddings.shape[1] != compressor.feature_width:
            raise InputError(
                f"The text vectors have {embeddings.shape[1]} entries and this model's features {compressor.feature_width}: "
                "they are of different spaces. For DINOv2 features give the head of the same size with --talk2dino_ckpt."
            )
        return cls(phrases, embeddings, encoder.embed(tuple(negatives) or encoder.negatives).to(device), compressor, compare)

    def only(self, phrases: Sequence[str]) -> "Question":
        """The same question with some of its phrases."""
        rows = [self.phrases.index(phrase) for phrase in phrases]
        return replace(self, phrases=tuple(phrases), embeddings=self.embeddings[rows])

    def relevancy(self, code_maps: Float[Tensor, "levels c h w"]) -> Float[Tensor, "levels p h w"]:
        """Relevancy in (0, 1) of every level and phrase; with `latent`, the cosine in the compressed space as (1 + cos) / 2."""
        if self.compare == "latent":
            codes = self.compressor.encode(self.embeddings)
            return torch.stack([latent_similarity(level.movedim(0, -1), codes) for level in code_maps])
        readout = self.compressor.readout(torch.cat([self.embeddings, self.negatives]))
        return torch.stack([relevancy_maps(level, readout, len(self.phrases)) for level in code_maps])
