"""OpenGaussian's selection of Gaussians for a phrase (yanmin-wu/OpenGaussian@b70dcc6c), for fields made by its program.

Its Gaussians belong to clusters, "leaves", numbered root by root, each with one CLIP vector. A phrase selects leaves once, and a
filter then drops outliers in every view, so that the selection changes from view to view. This is its method, not a protocol for
other fields: `gaussian_selection` has those.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

CANDIDATES = 10  # leaves with the highest cosines, the best one included
FARTHEST_CODE = 0.9  # Euclidean distance of two leaves' codes
LARGEST_SCALE = 0.1  # scene units; larger Gaussians are not drawn
FEWEST_SELECTED, FEWEST_KEPT = 100, 10  # with fewer Gaussians before or after the filter nothing is drawn


def select_leaves(
    text: Float[Tensor, "p d"],
    vectors: Float[Tensor, "leaves d"],
    seen: Int[Tensor, " leaves"],
    codes: Float[Tensor, "leaves c"],
    roots: int,
    fewest: int = 5,
) -> list[list[int]]:
    """Leaves of each phrase, best first: the one with the highest cosine, and those of the next nine that belong to it.

    A leaf belongs to the best one, b, when its number is below b plus the leaves of one root (the published difference is
    signed, so that every lower number passes, whatever its root) and its code is less than 0.9 away. No negatives take part, and
    a leaf may belong to several phrases.

    Args:
        text: vectors of the phrases, of any length.
        vectors: CLIP vectors of the leaves, of any length.
        seen: number of views in which a leaf was observed; leaves with less than `fewest` lose their vector.
        codes: learned instance codes of the leaves.
        roots: number of root clusters; leaves are spread over them evenly.
        fewest: 5 for LERF-OVS, 2 for ScanNet.
    """
    known = torch.nn.functional.normalize(vectors * (seen >= fewest)[:, None], dim=1)
    cosines = torch.nn.functional.normalize(text, dim=1) @ known.T
    per_root = len(vectors) // roots
    found = []
    for order in cosines.topk(min(CANDIDATES, len(vectors)), dim=1).indices.tolist():
        best, *others = order
        near = [j for j in others if j - best < per_root and float((codes[j] - codes[best]).norm()) < FARTHEST_CODE]
        found.append([best, *near])
    return found


def drawn_in_view(
    selected: Bool[Tensor, " n"], means: Float[Tensor, "n 3"], scales: Float[Tensor, "n 3"], radii: Int[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """The Gaussians of the selected leaves that are drawn in one view; none when there is no prediction.

    Visible ones (radius above 0) with all scales below 0.1 remain. With n of them, those are dropped whose mean squared distance
    to their floor(sqrt(n)) nearest, themselves included, is not below the mean plus the standard deviation of all of these.
    """
    candidates = (selected & (radii > 0) & (scales < LARGEST_SCALE).all(1)).nonzero().squeeze(1)
    drawn = torch.zeros_like(selected)
    if len(candidates) < FEWEST_SELECTED:
        return drawn
    points = means[candidates].double().cpu().numpy()
    distances, _ = cKDTree(points).query(points, k=math.isqrt(len(points)))
    squares = torch.from_numpy(distances).square()
    kept = candidates[(squares.mean(1) < squares.mean() + squares.std()).to(candidates.device)]
    if len(kept) >= FEWEST_KEPT:
        drawn[kept] = True
    return drawn
