"""Views ranked by how much they show of the phrases, without computing answers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from gaussian_renderer import prepare_view
from query.question import Question
from query.relevancy import BEATS_NEGATIVES
from query.views import View

SHRINK = 4  # downscaling of ranked views; ranking needs shares of a view, not details
OF_THE_PEAK = 0.9  # where no Gaussian beats the negatives, those above this share of the highest relevancy count


@torch.inference_mode()
def best_views(question: Question, views: Sequence[View], count: int) -> list[View]:
    """The `count` views that show most of the phrases, in the order of `views`.

    A view is ranked by the sum over its pixels and Gaussians of blending weight times the relevancy in excess of one half. The
    best views of every phrase are taken in turn, so that phrases for small objects are represented.
    """
    if len(views) <= count:
        return list(views)
    relevancy = question.gaussian_relevancy.amax(1)
    floor = (OF_THE_PEAK * relevancy.amax(0)).clamp(max=BEATS_NEGATIVES)
    excess = (relevancy - floor).clamp_min(0)
    shown = torch.stack([_shown(question, view, excess) for view in tqdm(views, desc="ranking", unit="view", disable=None)])
    chosen: dict[int, None] = {}
    for ranked in shown.argsort(dim=0, descending=True, stable=True).cpu():
        for index in ranked.tolist():
            if len(chosen) < count:
                chosen[index] = None
    return [views[index] for index in sorted(chosen)]


def _shown(question: Question, view: View, excess: Float[Tensor, "n p"]) -> Float[Tensor, " p"]:
    camera = view.camera
    small = camera.resized(max(1, camera.width // SHRINK), max(1, camera.height // SHRINK))
    return prepare_view(small, question.field.trained.gaussians).rasterize(excess).image.sum((1, 2))
