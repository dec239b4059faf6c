"""Phrases made ready for one field: encoded once, then compared with any number of code maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from query.phrases import PhraseMemory
from query.relevancy import latent_similarity, relevancy_maps
from workspace import InputError

Compare = Literal["decoded", "latent"]


def refuse_blank(*phrases: str) -> None:
    """InputError when one of the phrases has no letter to look for, or holds bytes that are no text."""
    if not all(phrase.strip() for phrase in phrases):
        raise InputError("An empty phrase means nothing; leave it out.")


@dataclass(frozen=True)
class Question:
    """Phrases, negatives, and how they are compared with rendered codes."""

    phrases: tuple[str, ...]
    """Each once, those that compete for every pixel included."""
    embeddings: Float[Tensor, "p d"]
    negatives: Float[Tensor, "n d"]
    compressor: Compressor
    compare: Compare = "decoded"
    classes: tuple[str, ...] = ()
    """Phrases that compete for every pixel."""

    @classmethod
    def encode(
        cls,
        phrases: Sequence[str],
        memory: PhraseMemory,
        compressor: Compressor,
        negatives: Sequence[str] = (),
        compare: Compare = "decoded",
        classes: Sequence[str] = (),
    ) -> "Question":
        """Encode `phrases`, and `negatives` or the canonical ones when none are given.

        Raises:
            InputError: the text encoder's space is not the compressor's.
        """
        phrases = tuple(dict.fromkeys([*phrases, *classes]))
        embeddings = memory.embed(phrases)
        if embeddings.shape[1] != compressor.feature_width:
            raise InputError(
                f"The text vectors have {embeddings.shape[1]} entries and this model's features {compressor.feature_width}: "
                "they are of different spaces. For DINOv2 features give the head of the same size with --talk2dino_ckpt."
            )
        negatives = memory.embed(tuple(negatives) or memory.negatives)
        return cls(phrases, embeddings, negatives, compressor, compare, tuple(classes))

    def only(self, phrases: Sequence[str]) -> "Question":
        """The same question with some of its phrases, and those that compete for every pixel."""
        phrases = tuple(dict.fromkeys([*phrases, *self.classes]))
        return replace(self, phrases=phrases, embeddings=self._rows(phrases))

    def relevancy(
        self, code_maps: Float[Tensor, "levels c h w"], phrases: Sequence[str] | None = None
    ) -> Float[Tensor, "levels p h w"]:
        """Relevancy in (0, 1) of every level and phrase (of `phrases`, when given); with `latent`, the cosine in the
        compressed space as (1 + cos) / 2."""
        embeddings = self.embeddings if phrases is None else self._rows(phrases)
        if self.compare == "latent":
            codes = self.compressor.encode(embeddings)
            return torch.stack([latent_similarity(level.movedim(0, -1), codes) for level in code_maps])
        readout = self.compressor.readout(torch.cat([embeddings, self.negatives]))
        return torch.stack([relevancy_maps(level, readout, len(embeddings)) for level in code_maps])

    def _rows(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        return self.embeddings[[self.phrases.index(phrase) for phrase in phrases]]
