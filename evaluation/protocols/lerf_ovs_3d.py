"""LERF-OVS in 3D: only the selected Gaussians are rendered, and their accumulated opacity is compared with the outlines.

Nothing occludes a selected Gaussian, so an object behind another one is rendered in full; its outline covers the visible part.
The rules are those of OpenGaussian (yanmin-wu/OpenGaussian@b70dcc6c) and VALA (changandao/VALA@48902a54), which differ in the
opacity threshold.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from evaluation.labels import OutlinedFrame
from evaluation.overlap import intersection_over_union
from workspace import InputError

AlphaRule: TypeAlias = Callable[[Float[Tensor, "h w"]], Bool[Tensor, "h w"]]
Unit: TypeAlias = tuple[str, str]
"""Name of the view and phrase."""


def opengaussian_mask(alpha: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Pixels that the selection covers by more than 0.7."""
    return alpha > 0.7


def vala_mask(alpha: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Pixels above 10 after rounding to 8 bits, that is alpha >= 10.5 / 255: 5 % opacity already counts."""
    return (alpha * 255 + 0.5).clamp(0, 255).to(torch.uint8) > 10


@dataclass(frozen=True)
class Overlap:
    """Overlap of one selection with the outline of its phrase in one view."""

    image: str
    phrase: str
    iou: float
    """0 where there is no prediction, and where mask and outline are both empty."""
    missing: bool
    """No prediction; counted as IoU 0."""


@dataclass(frozen=True)
class Figures:
    """Means over every labelled (view, phrase) of a scene, in [0, 1]."""

    miou: float
    accuracy_25: float
    """Share of the units with an IoU strictly above 0.25; tables call it mAcc."""
    accuracy_50: float
    units: int
    missing: int


def overlaps(frames: Sequence[OutlinedFrame], alphas: Mapping[Unit, Float[Tensor, "h w"]], rule: AlphaRule) -> list[Overlap]:
    """IoU of every labelled unit, sorted by view and phrase.

    Args:
        frames: the labels.
        alphas: accumulated opacity in [0, 1] of the selection, by name of the labelled view and phrase; a unit without a map is
            counted as missing. Phrases without a label in the view are ignored.
        rule: turns opacity into a mask.

    Raises:
        InputError: a map and its labels differ in size; the protocol does not resize.
    """
    found = []
    for frame in sorted(frames, key=lambda frame: frame.name):
        for phrase in sorted(frame.phrases):
            alpha = alphas.get((frame.name, phrase))
            if alpha is None:
                found.append(Overlap(frame.name, phrase, 0.0, True))
                continue
            if tuple(alpha.shape) != (frame.height, frame.width):
                height, width = alpha.shape
                raise InputError(
                    f"The opacity of {phrase!r} in {frame.name} has {width}x{height} pixels, "
                    f"its label {frame.width}x{frame.height}. "
                    "LERF-OVS in 3D compares without resizing: render at the size of the labels (--resolution 1)."
                )
            truth = torch.from_numpy(frame.mask(phrase, frame.width, frame.height)).to(alpha.device)
            found.append(Overlap(frame.name, phrase, intersection_over_union(rule(alpha), truth), False))
    return found


def figures(units: Sequence[Overlap]) -> Figures:
    """Means over the units of one scene."""
    return Figures(
        miou=fmean(unit.iou for unit in units),
        accuracy_25=fmean(unit.iou > 0.25 for unit in units),
        accuracy_50=fmean(unit.iou > 0.5 for unit in units),
        units=len(units),
        missing=sum(unit.missing for unit in units),
    )


@dataclass(frozen=True)
class SceneLists:
    """The fixed lists of one scene, the same in both published evaluators."""

    frames: tuple[str, ...]
    """Names of the labelled views."""
    phrases: tuple[str, ...]
    """Queried phrases. A label whose phrase is not in the list counts as missing."""


def published_lists() -> dict[str, SceneLists]:
    """Views and phrases of figurines, ramen, teatime and waldo_kitchen."""
    content = json.loads(Path(__file__).with_name("lerf_ovs_3d.json").read_text(encoding="utf-8"))
    return {scene: SceneLists(tuple(lists["frames"]), tuple(lists["phrases"])) for scene, lists in content["scenes"].items()}
