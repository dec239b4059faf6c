"""How strongly every pixel answers a phrase: relevancy against canonical negatives, for all phrases in one product."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

TEMPERATURE = 10.0
CHUNK_BYTES = 32 << 20  # decoded embeddings held at once; a full 512-D map of one 1440x1080 view would take 3 GB

Decode = Callable[[Tensor], Tensor]  # codes [k, c] -> unit embeddings [k, d]


def relevancy(
    embeddings: Float[Tensor, "*pixels d"], phrases: Float[Tensor, "p d"], negatives: Float[Tensor, "n d"]
) -> Float[Tensor, "p *pixels"]:
    """Relevancy in (0, 1) of unit embeddings to every phrase; above 0.5 the phrase beats every negative.

    The published score is the minimum over negatives of the softmax of the pair (10 s_p, 10 s_n). That softmax is
    sigmoid(10 (s_p - s_n)), which falls as s_n grows, so the minimum belongs to the most similar negative.
    """
    similarity = embeddings @ torch.cat([phrases, negatives]).T
    positive, negative = similarity.split([len(phrases), len(negatives)], dim=-1)
    score = torch.sigmoid(TEMPERATURE * (positive - negative.amax(-1, keepdim=True)))
    return score.movedim(-1, 0)


def latent_similarity(codes: Float[Tensor, "*pixels c"], phrases: Float[Tensor, "p c"]) -> Float[Tensor, "p *pixels"]:
    """Cosine similarity in the compressed space, as DinoSplat compares, mapped from [-1, 1] to [0, 1]; no negatives."""
    unit = torch.nn.functional.normalize(codes, dim=-1)
    return (unit @ torch.nn.functional.normalize(phrases, dim=-1).T).movedim(-1, 0).add(1).div(2)


@torch.inference_mode()
def relevancy_maps(
    codes: Float[Tensor, "c h w"], decode: Decode, phrases: Float[Tensor, "p d"], negatives: Float[Tensor, "n d"]
) -> Float[Tensor, "p h w"]:
    """Relevancy of a code map to every phrase. Embeddings exist for one chunk of pixels at a time.

    Pixels that no Gaussian covers all carry the zero code, which is decoded once.
    """
    channels, height, width = codes.shape
    pixels = codes.reshape(channels, -1).T
    covered = pixels.ne(0).any(-1).nonzero().squeeze(-1)
    empty = relevancy(decode(pixels.new_zeros(1, channels)), phrases, negatives)
    scores = empty.expand(len(phrases), height * width).contiguous()
    step = max(1, CHUNK_BYTES // (4 * phrases.shape[1]))
    for chunk in covered.split(step):
        scores[:, chunk] = relevancy(decode(pixels[chunk]), phrases, negatives)
    return scores.reshape(len(phrases), height, width)
