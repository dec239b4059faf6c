"""Mip-NeRF360-OV with GOI's labels: one mask per prompt and picture (Quyans/GOI-Hyperplane@56fd429f, `eval_seg.py`).

Layout: labels `<scene>/<prompt>/masks/<image>.png`, predictions `<scene>/<prompt>/<image>.png`. GAGS' labels of the same
name are a different data set, see `mipnerf360_gags`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from evaluation.labels import PaintedFrame, read_grey
from evaluation.protocol import LabelProtocol, LabelSet, Measure
from workspace import InputError
from workspace.slugs import slug

Missing = Literal["skipped", "zero"]
SCENES = ("room", "counter", "garden", "bonsai")


@dataclass(frozen=True)
class Figures:
    """Figures in [0, 1]; NaN is 0 / 0 and propagates to every mean, as published."""

    iou: float
    """NaN when label and prediction are both empty."""
    mpa: float
    """Mean of the recalls of foreground and background; an empty class counts as 0."""
    mp: float
    """Mean of the two precisions; NaN when the prediction is empty or covers everything."""


NOTHING = Figures(float("nan"), float("nan"), float("nan"))
ZERO = Figures(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """Means of one scene: over the pictures of a prompt, then over the prompts."""

    means: Figures
    images: Mapping[str, Figures]
    """Keyed by "<prompt>/<image>"."""
    missing: tuple[str, ...]
    """Keys without a prediction."""


def compare(label: Bool[np.ndarray, "h w"], predicted: Bool[np.ndarray, "h w"]) -> Figures:
    """Figures of one picture."""
    hits, misses = int((label & predicted).sum()), int((label & ~predicted).sum())
    alarms, rejected = int((~label & predicted).sum()), int((~label & ~predicted).sum())
    recalls = (_ratio(hits, hits + misses, 0.0), _ratio(rejected, rejected + alarms, 0.0))
    precisions = (_ratio(hits, hits + alarms, np.nan), _ratio(rejected, rejected + misses, np.nan))
    return Figures(_ratio(hits, hits + misses + alarms, np.nan), sum(recalls) / 2, sum(precisions) / 2)


def prediction(picture: UInt8[np.ndarray, "h w"], width: int, height: int) -> Bool[np.ndarray, "height width"]:
    """Mask at the size of the label: resized bilinearly, and every value above 0 counts, which dilates a resized mask."""
    return cv2.resize(picture, (width, height)) > 0


def published_layout(folder: Path) -> Callable[[str, str], Path]:
    """Prediction paths of the published evaluator: `<prompt>/<image>.png`."""
    return lambda prompt, image: folder / prompt / f"{image}.png"


def scene_figures(labels: Path, prediction_of: Callable[[str, str], Path], missing: Missing = "skipped") -> Scene:
    """Figures of one scene folder.

    Args:
        labels: `<prompt>/masks/<image>.png`.
        prediction_of: path of the mask of a prompt in an image; the file may be missing.
        missing: a picture without a prediction is left out of the means, as published (a prompt with none left is NaN, and so is
            its scene), or counts as 0 like in the LERF-OVS protocols.

    Raises:
        InputError: there are no labels, or a file is not a picture.
    """
    prompts: dict[str, list[Figures]] = {}
    images, absent = {}, []
    for path in sorted(labels.glob("*/masks/*.png")):
        prompt, name = path.parents[1].name, f"{path.parents[1].name}/{path.stem}"
        found = prompts.setdefault(prompt, [])
        file = prediction_of(prompt, path.stem)
        if file.is_file():
            label = read_grey(path) > 0
            images[name] = compare(label, prediction(read_grey(file), label.shape[1], label.shape[0]))
            found.append(images[name])
        else:
            absent.append(name)
            if missing == "zero":
                found.append(ZERO)
    if not prompts:
        raise InputError(f"No labels in {labels}; expected GOI's layout <scene>/<prompt>/masks/<image>.png.")
    return Scene(mean([mean(found) for found in prompts.values()]), images, tuple(absent))


def mean(parts: Sequence[Figures]) -> Figures:
    """Unweighted mean over pictures, prompts or scenes; NaN without any."""
    if not parts:
        return NOTHING
    return Figures(*(fmean(getattr(part, name) for part in parts) for name in ("iou", "mpa", "mp")))


def _ratio(part: int, whole: int, of_nothing: float) -> float:
    return part / whole if whole else of_nothing


def read(folder: Path) -> LabelSet:
    """Read one scene of GOI's labels, `<prompt>/masks/<image name>.png`, sorted by image.

    Raises:
        InputError: no such file.
    """
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*/masks/*.png")):
        files.setdefault(path.stem, {})[path.parents[1].name] = path
    if not files:
        raise InputError(f"No labels in {folder}; expected GOI's layout of one scene, <prompt>/masks/<image name>.png.")
    return LabelSet([PaintedFrame(name, files[name], background=0) for name in sorted(files)])


def goi_measures(labels: Path, answers: Mapping[str, Path]) -> dict[str, float | int | None]:
    """GOI's means of one scene; None where they are NaN (0 / 0).

    Args:
        labels: one scene of GOI's layout.
        answers: folder with `<phrase as a file name>.mask.png`, by image name of the label.
    """

    def mask(prompt: str, image: str) -> Path:
        return answers.get(image, Path()) / f"{slug(prompt)}.mask.png"

    measures: dict[str, float | int | None] = {}
    for missing, suffix in (("skipped", ""), ("zero", "_missing_as_zero")):
        scene = scene_figures(labels, mask, missing)
        for name in ("iou", "mpa", "mp"):
            value = getattr(scene.means, name)
            measures[f"goi_{name}{suffix}"] = None if math.isnan(value) else value
        measures["goi_missing"] = len(scene.missing)
    return measures


# GOI's paper was not available: no published figure is known to use these labels.
PROTOCOL = LabelProtocol(
    read,
    SCENES,
    (
        Measure("goi_iou", "mIoU, % (missing predictions skipped)", {}),
        Measure("goi_iou_missing_as_zero", "mIoU, % (missing predictions as 0)", {}),
    ),
    figures=goi_measures,
)
