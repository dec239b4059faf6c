"""Phrases as vectors, each encoded once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from features.text import TextEncoder


class PhraseMemory:
    """A text encoder that remembers: encoding takes longer than comparing, and a session asks phrases again."""

    def __init__(self, encoder: TextEncoder, device: torch.device):
        self._encoder = encoder
        self._device = device
        self._rows: dict[str, Float[Tensor, " d"]] = {}

    @property
    def negatives(self) -> tuple[str, ...]:
        """Phrases that stand for everything else in the encoder's space."""
        return self._encoder.negatives

    @property
    def temperature(self) -> float:
        """Factor of the cosines in relevancy that the encoder's space needs."""
        return self._encoder.temperature

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase; only phrases not asked before are encoded, all in one batch."""
        new = tuple(dict.fromkeys(phrase for phrase in phrases if phrase not in self._rows))
        if new:
            self._rows |= zip(new, self._encoder.embed(new).to(self._device), strict=True)
        return torch.stack([self._rows[phrase] for phrase in phrases])
