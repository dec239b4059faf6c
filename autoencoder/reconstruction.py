"""How much of an embedding survives its code."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.embeddings import Rows

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
def reconstruction_cosines(compressor: Compressor, rows: Rows) -> Float[Tensor, " m"]:
    """Cosine between each embedding and what its code decodes to."""
    cosines = []
    for start in range(0, len(rows), CHUNK):
        part = rows[slice(start, start + CHUNK)]
        decoded = compressor.decode(compressor.encode(part.embeddings, part.levels), part.levels)
        cosines.append((decoded * F.normalize(part.embeddings, dim=1)).sum(1))
    return torch.cat(cosines)


def measure(compressor: Compressor, rows: Rows) -> Reconstruction:
    """Reconstruction of embeddings."""
    cosines = reconstruction_cosines(compressor, rows)
    return Reconstruction(float(cosines.mean()), float(torch.quantile(cosines, 0.05)), len(cosines))
