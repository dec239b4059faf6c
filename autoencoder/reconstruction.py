"""Reconstruction quality of a compressor: the cosine between embeddings and their decoded codes."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.embeddings import Rows
from workspace.record_types import Reconstruction

CHUNK = 8192  # rows decoded at once: 32 MB of activations at 1024 wide


@torch.no_grad()
def reconstruction_cosines(compressor: Compressor, rows: Rows) -> Float[Tensor, " m"]:
    """Cosine between each embedding and its decoded code."""
    cosines = []
    for start in range(0, len(rows), CHUNK):
        part = rows[slice(start, start + CHUNK)]
        decoded = compressor.decode(compressor.encode(part.embeddings, part.levels), part.levels)
        cosines.append((decoded * F.normalize(part.embeddings, dim=1)).sum(1))
    return torch.cat(cosines)


def measure(compressor: Compressor, rows: Rows) -> Reconstruction:
    """Mean, 5th percentile and number of the cosines."""
    cosines = reconstruction_cosines(compressor, rows)
    return Reconstruction(float(cosines.mean()), float(torch.quantile(cosines, 0.05)), len(cosines))
