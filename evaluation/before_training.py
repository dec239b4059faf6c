"""What a benchmark needs, checked before hours of training: scenes, labels, and settings that its evaluation takes.

`python -m evaluation.before_training --protocol lerf_ovs -s <lerf_ovs> --labels <lerf_ovs>/label --scenes ramen teatime` is
the first command of every benchmark script.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from evaluation.catalogue import PROTOCOLS
from evaluation.object_selection import asked_phrases
from evaluation.rules import RuleName
from evaluation.scan_segmentation import MOVED, labelled_scan
from features.registry import DEFAULT, ExtractorName, refuse_foreign_options, spec_of
from features.talk2dino import load_head
from features.text import TextOptions
from query.question import Reading
from scene.dataset import CAMERAS
from scene.point_cloud import read_labelled_points, read_point_cloud
from workspace import InputError, command_line

BenchmarkName = Literal[("lerf_ovs_3d", "scannet", *PROTOCOLS)]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(TextOptions):
    """A benchmark that is about to be trained for."""

    protocol: BenchmarkName
    """The benchmark."""
    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Folder of the scene folders."""
    scenes: tuple[str, ...]
    """Names of the scenes."""
    labels: Path | None = None
    """Folder of the scenes' label folders, where they are not inside the scenes."""
    features: ExtractorName = DEFAULT
    """The extractor (FEATURES of the scripts)."""
    rule: RuleName = "langsplat"
    """The answer rule (RULE)."""
    reading: Reading = "protocol"
    """The reading of the field (READING)."""
    level: str | None = None
    """The only level (LEVEL)."""
    phrases: Literal["published", "labels"] = "published"
    """What LERF-OVS in 3D asks (PHRASES)."""


def check_benchmark(config: BenchmarkConfig) -> None:
    """Refuse a benchmark that could not be evaluated after its training; all that is wrong is listed together."""
    wrong = []
    for check in (_check_answers, _check_text):
        wrong += _refusal(check, config)
    for scene in config.scenes:
        wrong += _refusal(_check_scene, config, config.source_path / scene)
    if wrong:
        raise InputError("Nothing was trained, since the evaluation would fail afterwards:\n" + "\n".join(wrong))


def _refusal(check: Callable[..., None], *arguments: object) -> list[str]:
    try:
        check(*arguments)
    except InputError as error:
        return [f"  {error}"]
    return []


def _check_answers(config: BenchmarkConfig) -> None:
    levels = spec_of(config.features).store.trained_levels
    if config.level is not None and config.level not in levels:
        raise InputError(f"--level {config.level}: {config.features} features have {', '.join(levels)}. Set LEVEL={levels[-1]}.")
    if config.rule == "gags" and config.level is None and len(levels) > 1:
        raise InputError(f"--rule gags reads one level, and {config.features} features have {', '.join(levels)}. Set LEVEL=l.")


def _check_text(config: BenchmarkConfig) -> None:
    refuse_foreign_options(config.features, config)
    if config.features == "dino":
        load_head(config.talk2dino_ckpt)


def _check_scene(config: BenchmarkConfig, scene: Path) -> None:
    if not scene.is_dir():
        raise InputError(f'No folder {scene}. Get the scene (docs/results.md), or leave it out: SCENES="..."')
    if not any((scene / name).exists() for name in CAMERAS):
        raise InputError(f"No cameras in {scene}; expected one of {', '.join(CAMERAS)}. Get the scene again (docs/results.md).")
    if config.protocol == "scannet":
        _check_scan(scene)
        return
    folder = scene / "segmentations" if config.labels is None else config.labels / scene.name
    read = PROTOCOLS["lerf_ovs" if config.protocol == "lerf_ovs_3d" else config.protocol].read(folder)
    if config.protocol == "lerf_ovs_3d":
        asked_phrases(config.phrases, scene.name, [phrase for frame in read.frames for phrase in frame.phrases])


def _check_scan(scene: Path) -> None:
    """The points that training starts from are those that the scan labels."""
    points, labels = scene / "points3d.ply", labelled_scan(scene)
    if not points.is_file():
        raise InputError(f"No file {points}; expected the vertices of the scan (docs/results.md says where to get it).")
    (start, _), (labelled, _) = read_point_cloud(points), read_labelled_points(labels)
    if start.shape != labelled.shape or not np.abs(start - labelled).max() <= MOVED:
        raise InputError(
            f"{points} has {len(start)} points and {labels} {len(labelled)}; expected the same ones in the same order, since "
            "Gaussian i is point i. Take both from the same scan."
        )


if __name__ == "__main__":
    command_line.run(check_benchmark, BenchmarkConfig)
