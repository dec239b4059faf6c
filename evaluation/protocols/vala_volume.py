"""VALA's volume-aware variant of ScanNet's protocol (changandao/VALA@48902a54, `eval/evaluator3D.py`).

Gaussians need not be points of the scan: each takes its label from nearby points and is weighted by its volume and opacity.
The published class is not called by any published program, and no published figure is known to come from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Float, Integer
from scipy.spatial import cKDTree

UNLABELLED = 0
CANDIDATES = 1000
REACH = 5.0  # search radius in units of the largest scale
THINNEST = 1e-6


def pseudo_labels(
    points: Float[np.ndarray, "m 3"],
    point_labels: Integer[np.ndarray, " m"],
    means: Float[np.ndarray, "n 3"],
    scales: Float[np.ndarray, "n 3"],
    quats: Float[np.ndarray, "n 4"],
    class_balance: bool = True,
) -> Integer[np.ndarray, " n"]:
    """Label of every Gaussian from the labelled points nearby; 0 (ignored) without any.

    Candidates are the nearest 1000 points within 5 times the largest scale. Each votes with exp(-d^2 / 2), d the Mahalanobis
    distance, and with `class_balance` a label's votes are divided by its number of candidates.

    Deviates from the published code, which takes another branch for at most 10,000 Gaussians and 10,000 points: the label with
    the largest sum of Mahalanobis distances over all points, which favours distant and frequent labels.

    Args:
        points: positions of the scan, in scene units.
        point_labels: 0 means no label and votes like any other.
        means: centres in scene units.
        scales: standard deviations in scene units.
        quats: (w, x, y, z), any non-zero norm.
        class_balance: the published default.
    """
    tree = cKDTree(points)
    rotations = _rotations(quats)
    widths = np.maximum(scales, THINNEST)
    labels = np.zeros(len(means), np.int64)
    count = int(point_labels.max()) + 1
    for i, reach in enumerate(REACH * scales.max(1)):
        distances, near = tree.query(means[i], k=min(CANDIDATES, len(points)), distance_upper_bound=reach)
        near = near[np.isfinite(distances)]
        if not len(near):
            continue
        offsets = (points[near] - means[i]) @ rotations[i] / widths[i]
        votes = np.bincount(point_labels[near], np.exp(-0.5 * (offsets**2).sum(1)), minlength=count)
        if class_balance:
            votes /= np.maximum(np.bincount(point_labels[near], minlength=count), 1)
        labels[i] = votes.argmax()
    return labels


def significance(scales: Float[np.ndarray, "n 3"], opacities: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weight of every Gaussian: product of its scales times its opacity."""
    return scales.prod(1) * opacities


@dataclass(frozen=True)
class Figures:
    """Weighted figures over the classes 1..C that occur in the labels of the Gaussians."""

    miou: float
    macc: float
    accuracy: float
    iou: Mapping[int, float]


def figures(
    truth: Integer[np.ndarray, " n"], predicted: Integer[np.ndarray, " n"], weights: Float[np.ndarray, " n"], num_classes: int
) -> Figures:
    """IoU, recall and accuracy with every labelled Gaussian counted by its weight."""
    kept = truth != UNLABELLED
    pairs = truth[kept].astype(np.int64) * (num_classes + 1) + predicted[kept]
    confusion = np.bincount(pairs, weights[kept], minlength=(num_classes + 1) ** 2).reshape(num_classes + 1, -1)
    hits, truths, claims = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = [c for c in range(1, num_classes + 1) if truths[c] > 0]
    if not present:
        return Figures(float("nan"), float("nan"), float("nan"), {})
    iou = {c: float(hits[c] / (truths[c] + claims[c] - hits[c])) for c in present}
    recall = [float(hits[c] / truths[c]) for c in present]
    return Figures(fmean(iou.values()), fmean(recall), float(hits.sum() / truths.sum()), iou)


def _rotations(quats: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        1,
    )
