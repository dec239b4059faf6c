"""Agreement of masks and points with the ground truth."""

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

PIXELS = 1 << 18  # counted at a time: float32 counts exactly, and the masks take little memory as numbers


def intersection_over_union(predicted: Bool[Tensor, "h w"], truth: Bool[Tensor, "h w"]) -> float:
    """IoU of two masks; 0 when both are empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 0.0


def pairwise_overlap(predicted: Bool[Tensor, "p h w"], truth: Bool[Tensor, "t h w"]) -> Float[np.ndarray, "p t"]:
    """IoU of every predicted with every true mask; 0 where both are empty. One product instead of a pass for every pair."""
    first, second = predicted.flatten(1), truth.flatten(1)
    shared = sum((a.float() @ b.float().T).double() for a, b in zip(first.split(PIXELS, 1), second.split(PIXELS, 1), strict=True))
    union = first.sum(1)[:, None] + second.sum(1) - shared
    return (shared / union.clamp_min(1)).cpu().numpy()


def localized(points: Int[Tensor, "k 2"], boxes: Float[Tensor, "b 4"]) -> bool:
    """Whether any of the points lies in any of the boxes (x1, y1, x2, y2), inclusive."""
    at_least = (points[:, None] >= boxes[None, :, :2]).all(-1)
    at_most = (points[:, None] <= boxes[None, :, 2:]).all(-1)
    return bool((at_least & at_most).any())
