"""Labels of the two data sets that share the name Mip-NeRF360-OV, and GOI's figures of answers given by our query stage."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.labels import PaintedFrame, match_views
from evaluation.protocols import mipnerf360_goi
from workspace import InputError
from workspace.slugs import slug

log = logging.getLogger(__name__)


def read_goi(folder: Path) -> list[PaintedFrame]:
    """Read one scene of GOI's labels, `<prompt>/masks/<image name>.png`, sorted by image.

    Raises:
        InputError: no such file.
    """
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*/masks/*.png")):
        files.setdefault(path.stem, {})[path.parents[1].name] = path
    if not files:
        raise InputError(f"No labels in {folder}; expected GOI's layout of one scene, <prompt>/masks/<image name>.png.")
    return [PaintedFrame(name, files[name], background=0) for name in sorted(files)]


def gags_views(names: Sequence[str], keys: Sequence[str], training: Sequence[str]) -> dict[str, str]:
    """Image key of every label of GAGS.

    Labels named like images belong to those. The published evaluator takes `frame_<number>` as the place of the view among
    the training views, sorted by name and counted from 1; this is wrong as soon as that list differs from the authors', so
    it is only done where no image has the label's name, and with a warning.

    Raises:
        InputError: a label is neither an image nor a place in the list.
    """
    by_place = [re.fullmatch(r"frame_(\d+)", name) for name in names]
    named_like_images = {Path(key).name for key in keys}
    if not all(by_place) or any(name in named_like_images for name in names):
        return match_views(names, keys)
    places = {name: int(found.group(1)) for name, found in zip(names, by_place, strict=True)}
    ordered = sorted(training)
    beyond = [name for name, place in places.items() if not 1 <= place <= len(ordered)]
    if beyond:
        raise InputError(
            f"Labels {', '.join(beyond)} lie beyond the {len(ordered)} training views, whose places GAGS names its labels by. "
            "Train on the same photographs as the labels were made for."
        )
    log.warning(
        "Labels are matched to views by their place in the sorted list of %d training views, as GAGS does: %s",
        len(ordered),
        ", ".join(f"{name} is {ordered[place - 1]}" for name, place in places.items()),
    )
    return {name: ordered[place - 1] for name, place in places.items()}


def goi_measures(labels: Path, answers: Mapping[str, Path]) -> dict[str, float | int | None]:
    """GOI's means of one scene; None where they are nothing divided by nothing.

    Args:
        labels: one scene of GOI's layout.
        answers: folder with `<phrase as a file name>.mask.png`, by image name of the label.
    """

    def mask(prompt: str, image: str) -> Path:
        return answers.get(image, Path()) / f"{slug(prompt)}.mask.png"

    measures: dict[str, float | int | None] = {}
    for missing, suffix in (("skipped", ""), ("zero", "_missing_as_zero")):
        scene = mipnerf360_goi.scene_figures(labels, mask, missing)
        for name in ("iou", "mpa", "mp"):
            value = getattr(scene.means, name)
            measures[f"goi_{name}{suffix}"] = None if math.isnan(value) else value
        measures["goi_missing"] = len(scene.missing)
    return measures
