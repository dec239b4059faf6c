"""How much of an embedding survives its code."""

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from workspace.records import Reconstruction

CHUNK = 8192  # rows decoded at once: 32 MB of activations at 1024 wide


@torch.no_grad()
def reconstruction_cosines(compressor: Compressor, embeddings: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
    """Cosine between each unit embedding and what its code decodes to."""
    chunks = (compressor.decode(compressor.encode(chunk)) for chunk in embeddings.split(CHUNK))
    return torch.cat([(decoded * chunk).sum(1) for decoded, chunk in zip(chunks, embeddings.split(CHUNK), strict=True)])


def measure(compressor: Compressor, embeddings: Float[Tensor, "m d"]) -> Reconstruction:
    """Reconstruction of unit embeddings."""
    cosines = reconstruction_cosines(compressor, embeddings)
    return Reconstruction(float(cosines.mean()), float(torch.quantile(cosines, 0.05)), len(cosines))
