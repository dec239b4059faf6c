"""How much of an embedding survives its code."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor

CHUNK = 8192  # rows decoded at once: 32 MB of activations at 1024 wide


@dataclass(frozen=True)
class Reconstruction:
    """Cosine between embeddings and their decoded codes over some rows."""

    mean: float
    """Mean cosine."""
    percentile_5: float
    """Cosine that one row in twenty falls below."""
    rows: int
    """Embeddings it was measured on."""


@torch.no_grad()
def reconstruction_cosines(compressor: Compressor, embeddings: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
    """Cosine between each unit embedding and what its code decodes to."""
    chunks = (compressor.decode(compressor.encode(chunk)) for chunk in embeddings.split(CHUNK))
    return torch.cat([(decoded * chunk).sum(1) for decoded, chunk in zip(chunks, embeddings.split(CHUNK), strict=True)])


def measure(compressor: Compressor, embeddings: Float[Tensor, "m d"]) -> Reconstruction:
    """Reconstruction of unit embeddings."""
    cosines = reconstruction_cosines(compressor, embeddings)
    return Reconstruction(float(cosines.mean()), float(torch.quantile(cosines, 0.05)), len(cosines))
