"""What every compressor can do. Training, rendering and queries use this interface and never ask for the kind."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from autoencoder.readout import Readout

GaussianCodes = Literal["vectors"]
FieldPreset = Literal["published", "fast"]


class Compressor(nn.Module, ABC):
    """Turns embeddings into codes that Gaussians can carry, and rendered codes back into embeddings."""

    method: ClassVar[str]
    """Name of the kind, as on the command line and in records."""
    gaussian_codes: ClassVar[GaussianCodes] = "vectors"
    """What a Gaussian carries at each level: a vector of `code_width` numbers, which is optimised."""
    field_preset: ClassVar[FieldPreset]
    """How a language field of its codes is trained unless the user says otherwise."""

    feature_width: int
    """Entries of an embedding."""
    code_width: int
    """Channels of a rendered code, per level."""

    @classmethod
    @abstractmethod
    def names(cls, tensors: Collection[str]) -> bool:
        """Whether tensors of these names are those of this kind."""

    @classmethod
    @abstractmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Compressor":
        """The compressor that the tensors of a file describe, ready to use.

        Raises:
            ValueError: the tensors do not describe one.
        """

    @abstractmethod
    def encode(self, embeddings: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch c"]:
        """Codes of embeddings."""

    @abstractmethod
    def decode(self, codes: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch d"]:
        """Embeddings of unit length, of codes as `encode` returns them or as they are rendered."""

    @abstractmethod
    def blended(self, codes: Float[Tensor, "n lc"]) -> Float[Tensor, "n lc"]:
        """What the rasterizer blends for the Gaussians' codes of one or several levels side by side; differentiable."""

    @abstractmethod
    def readout(self, vectors: Float[Tensor, "v d"]) -> Readout:
        """Cosines of decoded codes with fixed unit vectors such as phrases."""
