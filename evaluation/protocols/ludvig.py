"""LUDVIG's rule on LERF-OVS: relevancy per Gaussian, rendered, and cut by Otsu's threshold (naver/ludvig@4461fc51).

Where LUDVIG uses SAM, its published figures use SAM's mask; this is the rule without SAM. It is not LangSplat's
protocol, so LUDVIG's mIoU is listed separately in tables of the 2D protocol.
"""

import torch
from jaxtyping import Float
from skimage.filters import threshold_otsu
from torch import Tensor

from query.answer_rule import Answer

WINDOW = 5


def uplifted(relevancy: Float[Tensor, "levels h w"]) -> Answer:
    """Rule without graph diffusion: smoothed, and Otsu's threshold among the pixels above 0.8 of the maximum."""
    means = torch.nn.functional.avg_pool2d(relevancy[None], WINDOW, 1, WINDOW // 2)[0]  # zero padding counts in the mean
    return _answer(means, 0.8)


def diffused(relevancy: Float[Tensor, "levels h w"]) -> Answer:
    """Rule after graph diffusion: not smoothed, and Otsu's threshold among the pixels above 0."""
    return _answer(relevancy, 0.0)


def _answer(maps: Float[Tensor, "levels h w"], cutoff: float) -> Answer:
    """LUDVIG has one level; with several, the level with the highest maximum is used."""
    level = int(maps.amax((-2, -1)).argmax())
    best = maps[level]
    peak = best.max()
    mask = torch.zeros_like(best, dtype=torch.bool)
    points = torch.zeros(0, 2, dtype=torch.long, device=best.device)
    if peak > 0:  # otherwise no answer: IoU 0, not localised
        candidates = best[best > cutoff * peak]
        mask = best > float(threshold_otsu(candidates.cpu().numpy(), nbins=256))
        points = (best == peak).nonzero().flip(-1)
    return Answer(level, float(peak), best, mask, level, points)
