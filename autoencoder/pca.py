"""Principal components as a compressor: the best linear codes of any width, computed in one pass over the embeddings."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.config import AutoencoderConfig
from autoencoder.embeddings import Embeddings, train_share
from autoencoder.readout import Readout
from autoencoder.recipes import CODE_WIDTH, SEGMENT_SHARE
from features.feature_store import FeatureStore
from workspace import InputError, ModelFolder


class PCA(Compressor):
    """Mean, principal directions and one scale.

    Codes are coordinates along the directions, all divided by one scale so that their mean squared length is 1: the learning
    rate of the language field then has the same effect as for the unit codes of the autoencoder. Unlike there, the length of
    a code carries information.
    """

    method = "pca"
    field = "pca"
    field_preset = "fast"

    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "c d"]
    scale: Float[Tensor, ""]

    def __init__(self, mean: Float[Tensor, " d"], directions: Float[Tensor, "c d"], scale: Float[Tensor, ""]):
        super().__init__()
        self.code_width, self.feature_width = directions.shape
        for name, value in (("mean", mean), ("directions", directions), ("scale", scale)):
            self.register_buffer(name, value)

    @classmethod
    def names(cls, tensors: Collection[str]) -> bool:
        """Whether there are principal directions, which no other kind has."""
        return "directions" in tensors

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "PCA":
        """The components of a file's tensors; ValueError when their shapes do not match."""
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        if shapes != {"mean": shapes.get("directions", ())[1:], "directions": shapes.get("directions"), "scale": ()}:
            raise ValueError(f"expected mean [d], directions [c, d], scale []; found {shapes}")
        if not state["scale"] > 0:
            raise ValueError(f"the scale is {float(state['scale'])}; expected a positive number")
        return cls(**state)

    def encode(
        self, embeddings: Float[Tensor, "*batch d"], levels: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch c"]:
        """Centred coordinates of the embeddings, which are normalised first."""
        return (F.normalize(embeddings.to(self.mean.dtype), dim=-1) - self.mean) @ self.directions.T / self.scale

    def decode(self, codes: Float[Tensor, "*batch c"], levels: Int[Tensor, "*batch"] | None = None) -> Float[Tensor, "*batch d"]:
        """Embeddings of unit length."""
        return F.normalize(codes.to(self.mean.dtype) * self.scale @ self.directions + self.mean, dim=-1)

    def blended(self, codes: Float[Tensor, "n lc"]) -> Float[Tensor, "n lc"]:
        """The codes unchanged."""
        return codes

    def readout(self, vectors: Float[Tensor, "v d"]) -> Readout:
        """Cosines of decoded codes with unit vectors."""
        return Readout(lambda codes: codes, (self.directions * self.scale).T, self.mean, vectors)


def pca_settings(config: AutoencoderConfig, store: FeatureStore) -> dict[str, Any]:
    """Settings that determine the components; InputError for invalid values."""
    width = CODE_WIDTH if config.code_width is None else config.code_width
    if width < 1:
        raise InputError(f"--code_width {width}: expected 1 or more.")
    share = train_share(config, SEGMENT_SHARE)
    return {"method": PCA.method, "code_width": width, "train_share": share, "seed": config.seed}


def fit_pca(embeddings: Embeddings, settings: Mapping[str, Any], model: ModelFolder) -> PCA:
    """Components of all embeddings to fit, which are read once and not kept in memory."""
    moments = None
    for rows in embeddings:
        moments = moments or Moments(rows.embeddings.shape[1], embeddings.device)
        moments.add(rows.embeddings)
    try:
        return moments.components(settings["code_width"])
    except ValueError as error:
        raise InputError(f"--code_width {settings['code_width']}: {error}.") from None


class Moments:
    """Count, sum and second moments of embeddings, accumulated in batches in float64: exact for any number of them."""

    def __init__(self, feature_width: int, device: torch.device):
        self.count = 0
        self.sum = torch.zeros(feature_width, dtype=torch.float64, device=device)
        self.products = torch.zeros(feature_width, feature_width, dtype=torch.float64, device=device)

    def add(self, embeddings: Float[Tensor, "m d"]) -> None:
        """Add a batch of embeddings, which are normalised first."""
        unit = F.normalize(embeddings.to(torch.float64), dim=-1)
        self.count += len(unit)
        self.sum += unit.sum(0)
        self.products.addmm_(unit.T, unit)

    def components(self, code_width: int) -> PCA:
        """The `code_width` directions of largest variance, largest first; each one's largest entry is positive.

        Raises:
            ValueError: more directions are asked for than the embeddings have entries.
        """
        if code_width > len(self.sum):
            raise ValueError(f"{code_width} components of embeddings with {len(self.sum)} entries")
        mean = self.sum / self.count
        covariance = self.products / self.count - torch.outer(mean, mean)
        variances, vectors = torch.linalg.eigh(covariance)
        variances, directions = variances.flip(0)[:code_width], vectors.flip(1).T[:code_width]
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        scale = variances.sum().clamp_min(torch.finfo(torch.float32).eps ** 2).sqrt()
        return PCA(mean.float(), (directions * largest.sign()).float().contiguous(), scale.float())
