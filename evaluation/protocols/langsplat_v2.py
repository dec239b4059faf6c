"""LangSplatV2's variant of the LERF-OVS protocol in 2D (ZhaoYujie2002/LangSplatV2@9a513cf5).

Both windows differ from LangSplat's: each is centred and uses only the pixels inside the picture.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from query.answer_rule import Answer, answer_from, stretched
from query.filters import window_sums

BOX = 29  # pixels; LangSplat takes 30, which cannot be centred
VOTE = 7


@torch.inference_mode()
def answer(relevancy: Float[Tensor, "levels h w"], mask_thresh: float = 0.4) -> Answer:
    """Answer one phrase from its relevancy maps; arguments as of `query.answer_rule.answer`."""
    return answer_from(relevancy, inside_mean(relevancy, BOX), lambda smoothed: threshold(smoothed, mask_thresh))


def threshold(smoothed: Float[Tensor, "h w"], mask_thresh: float) -> Bool[Tensor, "h w"]:
    """Mask of a smoothed relevancy map: rescaled and thresholded as in LangSplat, then a majority vote over each window."""
    return inside_mean((stretched(smoothed) > mask_thresh).float(), VOTE) > 0.5


def inside_mean(maps: Float[Tensor, "*maps h w"], size: int) -> Float[Tensor, "*maps h w"]:
    """Mean over centred `size` x `size` windows (odd), over the pixels inside the picture."""
    sums = torch.nn.functional.pad(maps, (size // 2,) * 4)
    counts = torch.nn.functional.pad(maps.new_ones(maps.shape[-2:]), (size // 2,) * 4)
    for axis in (-1, -2):
        sums, counts = window_sums(sums, size, axis), window_sums(counts, size, axis)
    return sums / counts
