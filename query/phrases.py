"""Text vectors of phrases, each encoded once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from features.text import TextEncoder


class PhraseMemory:
    """A text encoder with a cache: encoding takes longer than comparing, and a session repeats phrases."""

    def __init__(self, encoder: TextEncoder, device: torch.device):
        self._encoder = encoder
        self._device = device
        self._rows: dict[str, Float[Tensor, " d"]] = {}

    @property
    def negatives(self) -> tuple[str, ...]:
        """Negative phrases for the encoder's space."""
        return self._encoder.negatives

    @property
    def temperature(self) -> float:
        """Factor of the cosines in relevancy for the encoder's space."""
        return self._encoder.temperature

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase; only new phrases are encoded, in one batch."""
        new = tuple(dict.fromkeys(phrase for phrase in phrases if phrase not in self._rows))
        if new:
            self._rows |= zip(new, self._encoder.embed(new).to(self._device), strict=True)
        return torch.stack([self._rows[phrase] for phrase in phrases])
