"""Phrases encoded once for one field, then compared with any number of views or with the Gaussians."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from query.field import FieldView, LanguageField, Negatives
from query.relevancy import latent_similarity
from workspace import InputError

# Deviates from DinoSplat, which compares in the compressed space without negatives (`latent`).
Compare = Literal["decoded", "latent"]
Reading = Literal["protocol", "fast", "gaussian"]


def clean_phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    """Phrases without surrounding spaces; InputError when one is blank or not valid text, or `phrases` is no list of them."""
    if isinstance(phrases, str) or not isinstance(phrases, Iterable):
        raise InputError(f'{phrases!r} is no list of phrases; expected one, such as ["red mug"].')
    phrases = tuple(phrases)
    for phrase in phrases:
        if not isinstance(phrase, str):
            raise InputError(f"{phrase!r} is no phrase; expected text.")
        if not phrase.strip():
            raise InputError("An empty phrase means nothing; leave it out.")
        try:
            phrase.encode()
        except UnicodeEncodeError:
            raise InputError(f"The phrase {phrase!a} is not UTF-8 text. Use a terminal and a file encoding of UTF-8.") from None
    return tuple(phrase.strip() for phrase in phrases)


@dataclass(frozen=True, eq=False)
class Question:
    """Phrases, negatives, and the method that compares both with a field."""

    field: LanguageField
    phrases: tuple[str, ...]
    """Unique phrases, including those that compete for every pixel."""
    embeddings: Float[Tensor, "p d"]
    negatives: Negatives
    reading: Reading = "protocol"
    compare: Compare = "decoded"
    classes: tuple[str, ...] = ()
    """Phrases that compete for every pixel."""

    def __post_init__(self):
        if self.embeddings.shape[1] != self.field.feature_width:
            raise InputError(
                f"The text vectors have {self.embeddings.shape[1]} entries and this model's features {self.field.feature_width}: "
                "they are of different spaces. For DINOv2 features give the head of the same size with --talk2dino_ckpt."
            )
        if self.compare == "latent" and self.reading != "protocol":
            raise InputError(f"--compare latent compares rendered codes; --reading {self.reading} does not apply to it.")

    @torch.inference_mode()
    def relevancy(self, view: FieldView, phrases: Sequence[str] | None = None) -> Float[Tensor, "levels p h w"]:
        """Relevancy of every pixel, at every level, to every phrase (of `phrases`, when given).

        - `protocol`: of the rendered embedding, normalised per pixel, in (0, 1); used by the benchmarks.
        - `fast`: of the rendered scores, which are not normalised, in (0, 1): the same winner at every pixel, lower contrast
          where a pixel is partly covered or shows several things.
        - `gaussian`: computed per Gaussian and rendered, in [0, 1): a mean of relevancies, lower where little is covered.

        With `latent`, the cosine in the compressed space as (1 + cos) / 2.
        """
        rows = self._rows(self.phrases if phrases is None else phrases)
        if self.compare == "latent":
            codes = self.field.encode(self.embeddings[rows])
            return torch.stack([latent_similarity(level.movedim(0, -1), codes) for level in view.codes])
        if self.reading == "protocol":
            return view.protocol_relevancy(self.embeddings[rows], self.negatives)
        if self.reading == "gaussian":
            return view.render(self.gaussian_relevancy[..., rows])
        cosines, rival = view.compared(self.scores[..., rows], self.negatives)
        return cosines.sub_(rival).mul_(self.negatives.temperature).sigmoid_()

    @cached_property
    def scores(self) -> Float[Tensor, "n levels p"]:
        """Inner products of the phrases with the Gaussians' stored embeddings."""
        return self.field.scores(self.embeddings)

    @property
    def gaussian_cosines(self) -> Float[Tensor, "n levels p"]:
        """Cosine of every Gaussian, at every level, with every phrase; 0 for unknown Gaussians."""
        return self.scores / self.field.lengths.clamp_min(1e-12)[..., None]

    @cached_property
    def gaussian_relevancy(self) -> Float[Tensor, "n levels p"]:
        """Relevancy of every Gaussian, at every level, to every phrase, in (0, 1); 0 for unknown Gaussians."""
        excess = self.gaussian_cosines.sub_(self.negatives.rival[..., None])
        return excess.mul_(self.negatives.temperature).sigmoid_().mul_(self.field.known[..., None])

    def _rows(self, phrases: Sequence[str]) -> list[int]:
        return [self.phrases.index(phrase) for phrase in phrases]
