"""Relevancy of phrases against canonical negatives, for all phrases in one matrix product."""

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.readout import Readout
from features.text import TEMPERATURE

BEATS_NEGATIVES = 0.5  # relevancy above which a phrase is more similar than every negative
CHUNK_BYTES = 32 << 20  # memory limit of the largest intermediate, independent of the size of the view


def relevancy(
    embeddings: Float[Tensor, "*pixels d"],
    phrases: Float[Tensor, "p d"],
    negatives: Float[Tensor, "n d"],
    temperature: float = TEMPERATURE,
) -> Float[Tensor, " p *pixels"]:
    """Relevancy in (0, 1) of unit embeddings to every phrase; above 0.5 the phrase beats every negative."""
    return contrast(embeddings @ torch.cat([phrases, negatives]).T, len(phrases), temperature)


def contrast(cosines: Float[Tensor, "*pixels v"], num_phrases: int, temperature: float) -> Float[Tensor, " p *pixels"]:
    """Relevancy from the cosines with the phrases, which come first, and with the negatives.

    The published score is the minimum over negatives of the softmax of the pair (T s_p, T s_n), with temperature T = 10.
    That softmax is sigmoid(T (s_p - s_n)), which decreases in s_n, so the minimum is at the most similar negative.
    """
    rival = cosines[..., num_phrases:].amax(-1, keepdim=True)
    return torch.sigmoid(temperature * (cosines[..., :num_phrases] - rival)).movedim(-1, 0)


def latent_similarity(codes: Float[Tensor, "*pixels c"], phrases: Float[Tensor, "p c"]) -> Float[Tensor, " p *pixels"]:
    """Cosine similarity in the compressed space, as in DinoSplat, mapped from [-1, 1] to [0, 1]; no negatives."""
    unit = torch.nn.functional.normalize(codes, dim=-1)
    return (unit @ torch.nn.functional.normalize(phrases, dim=-1).T).movedim(-1, 0).add(1).div(2)


@torch.inference_mode()
def relevancy_maps(
    codes: Float[Tensor, "c h w"], readout: Readout, num_phrases: int, temperature: float = TEMPERATURE
) -> Float[Tensor, "p h w"]:
    """Relevancy of a code map to the first `num_phrases` vectors of `readout`; the rest are negatives.

    Pixels without Gaussians share the zero code, which is decoded once.
    """
    channels, height, width = codes.shape
    pixels = codes.reshape(channels, -1).T
    covered = pixels.ne(0).any(-1).nonzero().squeeze(-1)
    empty = contrast(readout(pixels.new_zeros(1, channels)), num_phrases, temperature)
    scores = empty.expand(num_phrases, height * width).contiguous()
    for chunk in covered.split(CHUNK_BYTES // (4 * readout.width)):
        scores[:, chunk] = contrast(readout(pixels[chunk]), num_phrases, temperature)
    return scores.reshape(num_phrases, height, width)
