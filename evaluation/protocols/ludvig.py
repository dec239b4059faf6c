"""LUDVIG's rule on LERF-OVS: relevancy per Gaussian, rendered, and cut by Otsu's threshold (naver/ludvig@4461fc51).

The mask of the published figures comes from SAM where LUDVIG uses it; this is the rule without SAM. It is not LangSplat's
protocol, so LUDVIG's mIoU stands apart in tables of the 2D protocol.
"""

import torch
from jaxtyping import Float
from skimage.filters import threshold_otsu
from torch import Tensor

from query.answer_rule import Answer

WINDOW = 5


def uplifted(relevancy: Float[Tensor, "levels h w"]) -> Answer:
    """Without graph diffusion: smoothed, and Otsu's threshold among the pixels above 0.8 of the maximum."""
    means = torch.nn.functional.avg_pool2d(relevancy[None], WINDOW, 1, WINDOW // 2)[0]  # zeros outside count as pixels
    return _answer(means, 0.8)


def diffused(relevancy: Float[Tensor, "levels h w"]) -> Answer:
    """After graph diffusion: not smoothed, and Otsu's threshold among the pixels above 0."""
    return _answer(relevancy, 0.0)


def _answer(maps: Float[Tensor, "levels h w"], cutoff: float) -> Answer:
    """LUDVIG has one level; of several the one with the highest maximum answers."""
    level = int(maps.amax((-2, -1)).argmax())
    best = maps[level]
    peak = best.max()
    mask = torch.zeros_like(best, dtype=torch.bool)
    points = torch.zeros(0, 2, dtype=torch.long, device=best.device)
    if peak > 0:  # else no answer: IoU 0 and a miss
        candidates = best[best > cutoff * peak]
        mask = best > float(threshold_otsu(candidates.cpu().numpy(), nbins=256))
        points = (best == peak).nonzero().flip(-1)
    return Answer(level, float(peak), best, mask, level, points)
