"""Agreement of masks and points with the ground truth."""

from jaxtyping import Bool, Float, Int
from torch import Tensor


def intersection_over_union(predicted: Bool[Tensor, "h w"], truth: Bool[Tensor, "h w"]) -> float:
    """IoU of two masks; 0 when both are empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 0.0


def localized(points: Int[Tensor, "k 2"], boxes: Float[Tensor, "b 4"]) -> bool:
    """Whether any of the points lies in any of the boxes (x1, y1, x2, y2), inclusive."""
    at_least = (points[:, None] >= boxes[None, :, :2]).all(-1)
    at_most = (points[:, None] <= boxes[None, :, 2:]).all(-1)
    return bool((at_least & at_most).any())
