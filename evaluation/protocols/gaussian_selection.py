"""Selection of the Gaussians that answer a phrase from scores per Gaussian, as in the published tables of LERF-OVS in 3D."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

NEIGHBOURS = 10  # including the Gaussian itself


@dataclass(frozen=True)
class Selection:
    """The Gaussians that answer each phrase."""

    masks: Bool[Tensor, "p n"]
    level: Int[Tensor, " p"]
    """Index of the level that was chosen for each phrase."""
    score: Float[Tensor, "levels p"]
    """Peak of the smoothed relevancy, by which the level is chosen."""


def select_vala(relevancy: Float[Tensor, "levels p n"], means: Float[Tensor, "n 3"], threshold: float) -> Selection:
    """VALA's selection for fields with a relevancy per Gaussian (changandao/VALA@48902a54).

    Relevancy is averaged with its mean over the ten nearest Gaussians and rescaled from its range over the scene to [-1, 1].
    So `threshold` t selects above (1 + t) / 2 of that range, and something is always selected, even for an absent phrase.
    The mean ignores size and opacity: a large faint floater counts as much as a small opaque Gaussian.

    Args:
        relevancy: in (0, 1), from the features as stored (not renormalised).
        means: centres, in scene units.
        threshold: 0.4 in the published program, 0.6 in the published shell script.
    """
    smoothed = (relevancy + neighbour_mean(relevancy, means)) / 2
    shifted = smoothed - smoothed.amin(-1, keepdim=True)
    stretched = (2 * (shifted / (shifted.amax(-1, keepdim=True) + 1e-9)) - 1).clamp(0, 1)
    peaks = smoothed.amax(-1)
    level = peaks.argmax(0)
    masks = (stretched > threshold)[level, torch.arange(len(level), device=level.device)]
    return Selection(masks, level, peaks)


def select_argmax(cosines: Float[Tensor, "p n"]) -> Bool[Tensor, "p n"]:
    """Assigns every Gaussian to its most similar phrase, the first on ties: no negatives, no threshold, no background.

    This is how OpenGaussian's author says that LangSplat and others were tested for its tables (yanmin-wu/OpenGaussian#9). The
    code was not published, so there is nothing to compare with; level and opacity threshold are unknown. An answer
    depends on the other phrases in the list.
    """
    winner = cosines.argmax(0)
    return winner == torch.arange(len(cosines), device=cosines.device)[:, None]


def neighbour_mean(values: Float[Tensor, "*batch n"], means: Float[Tensor, "n 3"]) -> Float[Tensor, "*batch n"]:
    """Mean of the values of the `NEIGHBOURS` nearest Gaussians, by the Euclidean distance of their centres."""
    points = means.detach().cpu().numpy()
    _, nearest = cKDTree(points).query(points, k=min(NEIGHBOURS, len(points)), workers=-1)
    neighbours = torch.from_numpy(np.atleast_2d(nearest.T).T.reshape(len(points), -1)).to(values.device)
    return values[..., neighbours].mean(-1)
