"""Interface of all compressors. Training, rendering and queries use it and never test for the kind."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from autoencoder.config import Tokens
from autoencoder.embeddings import Embeddings
from autoencoder.readout import Readout

GaussianCodes = Literal["vectors", "mixtures"]
FieldPreset = Literal["published", "fast"]


class Compressor(nn.Module, ABC):
    """Turns embeddings into codes that Gaussians can carry, and rendered codes back into embeddings."""

    method: ClassVar[str]
    """Name of the kind, as on the command line and in records."""
    gaussian_codes: ClassVar[GaussianCodes] = "vectors"
    """What a Gaussian carries at each level: a vector of `code_width` numbers, which is optimised, or a mixture of the
    level's codes, which is lifted."""
    by_level: ClassVar[bool] = False
    """Whether each level has separate codes, so that encoding and decoding need the level."""
    field: ClassVar[str]
    """Default name of a language field of this kind."""
    field_preset: ClassVar[FieldPreset] = "fast"
    """Default preset for optimising vectors."""

    foreign_tokens: Tokens = "unit"
    """Input that a compressor without a stage record expects: embeddings of unit length (unit) or as stored (raw)."""

    feature_width: int
    """Entries of an embedding."""
    code_width: int
    """Channels of a rendered code, per level."""

    @classmethod
    @abstractmethod
    def names(cls, tensors: Collection[str]) -> bool:
        """Whether a state dict with these tensor names is of this kind."""

    @classmethod
    @abstractmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Compressor":
        """The compressor that the tensors of a file describe, ready to use.

        Raises:
            ValueError: the tensors do not describe one.
        """

    @abstractmethod
    def encode(self, embeddings: Float[Tensor, "*batch d"], levels: Int[Tensor, "*batch"] | None = None) -> Tensor:
        """Codes of embeddings: [*batch, c] vectors, or [*batch] row indices of the tables of their `levels`."""

    @abstractmethod
    def decode(self, codes: Tensor, levels: Int[Tensor, "*batch"] | None = None) -> Float[Tensor, "*batch d"]:
        """Embeddings of unit length, from codes as `encode` returns them; vectors may have any length, as rendered ones do."""

    @abstractmethod
    def blended(self, codes: Float[Tensor, "n lc"]) -> Float[Tensor, "n lc"]:
        """Channels that the rasterizer blends for code vectors of one or several levels side by side; differentiable."""

    @abstractmethod
    def readout(self, vectors: Float[Tensor, "v d"]) -> Readout:
        """Cosines of rendered codes with fixed unit vectors such as phrases."""

    @torch.no_grad()
    def image_codes(self, embeddings: Embeddings, key: str) -> np.ndarray:
        """Codes of one image as they are stored: [m, c] of its segments or [h, w, c] of its patches."""
        return self.encode(embeddings.of(key)).cpu().numpy().astype(embeddings.store.code_dtype)

    def details(self) -> dict[str, Any]:
        """Further entries of the report, beside the widths."""
        return {}
