"""Semantic segmentation of ScanNet's points (yanmin-wu/OpenGaussian@b70dcc6c; naver/ludvig@4461fc51 has the same text).

Gaussian i is point i of the scan: positions are frozen and nothing is added or removed, so no matching is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workspace import InputError

SCENES = tuple(
    f"scene{name}" for name in "0000_00 0062_00 0070_00 0097_00 0140_00 0200_00 0347_00 0400_00 0590_00 0645_00".split()
)
"""OpenGaussian's ten scenes; VALA's script leaves out scene0200_00."""

NYU40_NAMES: Mapping[int, str] = {
    1: "wall",
    2: "floor",
    3: "cabinet",
    4: "bed",
    5: "chair",
    6: "sofa",
    7: "table",
    8: "door",
    9: "window",
    10: "bookshelf",
    11: "picture",
    12: "counter",
    14: "desk",
    16: "curtain",
    24: "refrigerator",
    28: "showercurtain",
    33: "toilet",
    34: "sink",
    36: "bathtub",
}
CLASSES: Mapping[int, tuple[int, ...]] = {
    19: tuple(NYU40_NAMES),
    15: (*range(1, 11), 12, 14, 16, 33, 34),
    10: (1, 2, *range(4, 11), 33),
}
"""NYU40 ids by the number of classes. With fewer classes, fewer phrases compete."""
UNLABELLED = 0
FAINT = 0.1  # opacity below which a point is ignored


def phrases(num_classes: int) -> list[str]:
    """Class names as phrases, without a prompt template."""
    return [NYU40_NAMES[name] for name in CLASSES[num_classes]]


def ground_truth(nyu40: Int[Tensor, " n"], opacities: Float[Tensor, " n"], num_classes: int) -> Int[Tensor, " n"]:
    """Class 1..C of every point, 0 for ignored ones: other NYU40 ids, and points whose Gaussian is fainter than 0.1.

    A class that only faint Gaussians have is absent from the scene.
    """
    table = torch.zeros(int(nyu40.max().clamp(min=40)) + 1, dtype=torch.long, device=nyu40.device)
    for position, name in enumerate(CLASSES[num_classes]):
        table[name] = position + 1
    return table[nyu40.long()].where(opacities >= FAINT, UNLABELLED)


def predict(cosines: Float[Tensor, "n c"]) -> Int[Tensor, " n"]:
    """Class 1..C of every Gaussian: the phrase with the largest cosine, the first on ties; no negatives, no class for "other".

    A Gaussian without an embedding has cosine 0 with every phrase and so becomes class 1, wall, as published.
    """
    return cosines.argmax(-1) + 1


@dataclass(frozen=True)
class Figures:
    """One scene; NaN where no point is labelled. All points count equally, whatever the size of their Gaussian."""

    miou: float
    """Mean over the classes in the ground truth. Predicting an absent class lowers the IoU of the others."""
    macc: float
    """Mean recall over the same classes."""
    accuracy: float
    """Share of the labelled points that are correct."""
    iou: Mapping[int, float]
    """By class 1..C, for the classes in the ground truth."""


def figures(truth: Int[Tensor, " n"], predicted: Int[Tensor, " n"], num_classes: int) -> Figures:
    """Figures of one scene over its labelled points.

    Raises:
        InputError: the numbers of Gaussians and points differ.
    """
    if truth.shape != predicted.shape:
        raise InputError(
            f"{len(predicted)} Gaussians are compared with {len(truth)} points; ScanNet's protocol needs one Gaussian for each "
            "point of the scan. Train with positions frozen and without densification."
        )
    labelled = truth != UNLABELLED
    pairs = truth[labelled].long() * (num_classes + 1) + predicted[labelled].long()
    confusion = torch.bincount(pairs, minlength=(num_classes + 1) ** 2).reshape(num_classes + 1, -1).double()
    hits, truths, claims = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = [c for c in range(1, num_classes + 1) if truths[c] > 0]
    iou = {c: float(hits[c] / (truths[c] + claims[c] - hits[c])) for c in present}
    if not present:
        return Figures(float("nan"), float("nan"), float("nan"), {})
    return Figures(
        miou=fmean(iou.values()),
        macc=fmean(float(hits[c] / truths[c]) for c in present),
        accuracy=float(hits.sum() / truths.sum()),
        iou=iou,
    )


def over_scenes(scenes: Sequence[Figures]) -> dict[str, float]:
    """Unweighted means over the scenes; a scene without labelled points makes them NaN, as in LUDVIG's sums."""
    return {name: fmean(getattr(scene, name) for scene in scenes) for name in ("miou", "macc", "accuracy")}
