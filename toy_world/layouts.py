"""Toy worlds in the exact layouts of public benchmarks, for use without the benchmark data.

`python -m toy_world.layouts -o <folder> --benchmark lerf_ovs` writes every scene of the benchmark under its published name, each
a different world, so that the benchmark's script runs on them as on its data. Results apply to the toy worlds only.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from jaxtyping import Bool
from PIL import Image

from scene.camera import Camera
from toy_world.compose import World, cameras, compose
from toy_world.generate import HELD_OUT, refuse_impossible, render_views
from toy_world.labels import lerf_label, visible_masks
from toy_world.layout_scannet import write_scan
from toy_world.points import sample_cloud, write_colmap
from toy_world.render import Picture
from workspace import InputError, SceneFolder, atomic, command_line, read_json, write_json
from workspace.owned_files import OwnedFiles, holds_files

log = logging.getLogger(__name__)

Benchmark = Literal["lerf_ovs", "3d_ovs", "scannet", "mipnerf360_goi", "mipnerf360_gags"]
SCENES: Mapping[Benchmark, tuple[str, ...]] = {
    "lerf_ovs": ("figurines", "ramen", "teatime", "waldo_kitchen"),
    "3d_ovs": ("bed", "bench", "lawn", "room", "sofa"),
    "scannet": (
        "scene0000_00",
        "scene0062_00",
        "scene0070_00",
        "scene0097_00",
        "scene0140_00",
        "scene0200_00",
        "scene0347_00",
        "scene0400_00",
        "scene0590_00",
        "scene0645_00",
    ),
    "mipnerf360_goi": ("room", "counter", "garden", "bonsai"),
    "mipnerf360_gags": ("room", "counter", "garden", "bonsai"),
}
SURROUNDINGS = ("floor", "wall")  # not queried: they extend beyond every picture


@dataclass(frozen=True)
class LayoutConfig:
    """A generated data set."""

    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write, as the benchmark's archive would unpack."""
    benchmark: Benchmark = "lerf_ovs"
    """Whose layout and scene names."""
    scenes: tuple[str, ...] = ()
    """Only these of the benchmark's scenes."""
    seed: int = 0
    """World of the benchmark's first scene; every further scene takes the next."""
    width: int = 640
    """Image width in pixels."""
    height: int = 480
    """Image height in pixels."""
    views: int = 72
    """Photographs of a scene; every 8th is labelled."""
    objects: int = 12
    """Objects on the table, 1 to 20."""
    points: int = 12000
    """Points of the COLMAP model, or of the scan."""


@dataclass(frozen=True)
class Shot:
    """One generated photograph with the mask of each phrase that can be queried in it."""

    camera: Camera
    picture: Picture
    masks: Mapping[str, Bool[np.ndarray, "h w"]]
    """Empty unless `labelled`."""
    labelled: bool


def write_layout(config: LayoutConfig) -> None:
    """Write the scenes of a benchmark. A finished scene with the same settings is kept; an interrupted one is written again.

    Raises:
        InputError: a setting is invalid, there is no such scene, or a folder of scene or labels holds something else.
    """
    published = SCENES[config.benchmark]
    unknown = [name for name in config.scenes if name not in published]
    if unknown:
        raise InputError(f"--scenes {' '.join(unknown)}: {config.benchmark} has {', '.join(published)}.")
    refuse_impossible(config.seed, config.width, config.height, config.views, config.objects, config.points)
    if config.benchmark == "scannet" and config.points > config.views * config.width * config.height:
        raise InputError(
            f"--points {config.points}: a scan has at most one for each of the {config.views} x {config.width} x {config.height} "
            "pixels. Lower it, or raise --width, --height or --views."
        )
    for name in config.scenes or published:
        seed = config.seed + published.index(name)
        settings = {**asdict(config), "seed": seed}
        for unrecorded in ("output_path", "scenes"):
            del settings[unrecorded]
        marker = config.output_path / name / "toy_world.json"
        if _finished(marker, settings):
            log.info("%s is already written", marker.parent)
            continue
        labels = OwnedFiles(config.output_path / "label" / name)
        if config.benchmark in _LABELS_OUTSIDE:
            _empty_labels(labels)
        write_json(marker, {"complete": False, "settings": settings})
        with labels.recording():
            _WRITERS[config.benchmark](config.output_path, name, *_drawn(replace(config, seed=seed)), config)
        write_json(marker, {"complete": True, "settings": settings})
        log.info("%s: world %d in the layout of %s", marker.parent, seed, config.benchmark)


def _finished(marker: Path, settings: Mapping[str, object]) -> bool:
    if not marker.parent.exists():
        return False
    if not marker.exists():
        raise InputError(f"{marker.parent} is not a generated scene. Name another folder with -o.")
    found = read_json(marker)
    if found["settings"] != settings:
        raise InputError(f"{marker.parent} was written with other settings ({found['settings']}). Remove it, or take another -o.")
    if not found["complete"]:
        shutil.rmtree(marker.parent)
    return bool(found["complete"])


def _empty_labels(labels: OwnedFiles) -> None:
    """Remove the labels of the world that this scene held before: they lie outside the scene folder and outlive it.

    Raises:
        InputError: the folder holds other labels, which stay.
    """
    if labels.begun or labels.being_removed:
        labels.remove()
    if holds_files(labels.folder):
        raise InputError(
            f"{labels.folder} holds labels that are not of a generated scene, or of one written before; expected no such folder. "
            "Remove it, or name another folder with -o."
        )
    labels.begin()


def _drawn(config: LayoutConfig) -> tuple[World, list[Shot]]:
    world = compose(config.seed, config.objects)
    views = cameras(config.seed, config.views, config.width, config.height)
    pictures = render_views(world, views)
    phrases = {phrase: ids for phrase, ids in world.phrases().items() if phrase not in SURROUNDINGS}
    areas = {
        phrase: [area for camera in views if (area := int(np.isin(pictures[camera.name].parts, ids).sum()))]
        for phrase, ids in phrases.items()
    }
    usual = {phrase: float(np.median(found)) if found else np.inf for phrase, found in areas.items()}
    shots = []
    for i, camera in enumerate(views):
        labelled = i % HELD_OUT == 0
        masks = visible_masks(pictures[camera.name].parts, phrases, usual) if labelled else {}
        shots.append(Shot(camera, pictures[camera.name], masks, labelled))
    return world, shots


def _lerf_ovs(root: Path, name: str, world: World, shots: list[Shot], config: LayoutConfig) -> None:
    """`<scene>/images`, `<scene>/sparse/0`, `label/<scene>/frame_00001.json` and `.jpg`."""
    shots = _renamed(shots, lambda i: f"frame_{i + 1:05d}")
    _colmap_scene(root / name, shots, ".jpg", config)
    for shot in shots:
        if shot.labelled:
            frame = root / "label" / name / f"{shot.camera.name}.json"
            write_json(frame, lerf_label(f"{shot.camera.name}.jpg", shot.masks))
            _save(frame.with_suffix(".jpg"), shot.picture.image)


def _3d_ovs(root: Path, name: str, world: World, shots: list[Shot], config: LayoutConfig) -> None:
    """`<scene>/segmentations/classes.txt` and `<scene>/segmentations/<image>/<class>.png`, at half the size of the images."""
    shots = _renamed(shots, lambda i: f"{i:02d}")
    _colmap_scene(root / name, shots, ".jpg", config)
    classes = [item.phrase for item in world.items]
    folder = root / name / "segmentations"
    with atomic(folder / "classes.txt") as temporary:
        temporary.write_text("\n".join(classes) + "\n", encoding="utf-8")
    item_of = np.array([item for item, _ in world.parts])
    half = (config.width // 2, config.height // 2)
    for shot in shots:
        if shot.labelled:
            items = item_of[shot.picture.parts]
            for index in np.unique(items):
                mask = cv2.resize((items == index).astype(np.uint8) * 255, half, interpolation=cv2.INTER_NEAREST)
                if mask.any():
                    _save(folder / shot.camera.name / f"{classes[index]}.png", mask)


def _scannet(root: Path, name: str, world: World, shots: list[Shot], config: LayoutConfig) -> None:
    write_scan(root / name, world, [shot.camera for shot in shots], [shot.picture for shot in shots], config.points, config.seed)


def _mipnerf360_goi(root: Path, name: str, world: World, shots: list[Shot], config: LayoutConfig) -> None:
    """`<scene>/images`, `<scene>/sparse/0`, `label/<scene>/<prompt>/masks/<image>.png`."""
    shots = _renamed(shots, lambda i: f"DSCF{4600 + i}")
    _colmap_scene(root / name, shots, ".JPG", config)
    for shot in shots:
        for phrase, mask in shot.masks.items():
            path = root / "label" / name / phrase / "masks" / f"{shot.camera.name}.png"
            _save(path, mask.astype(np.uint8) * 255)


def _mipnerf360_gags(root: Path, name: str, world: World, shots: list[Shot], config: LayoutConfig) -> None:
    """Labels `label/<scene>/frame_00001.json`, named by the 1-based position of the image in the sorted list."""
    shots = _renamed(shots, lambda i: f"DSCF{4600 + i}")
    _colmap_scene(root / name, shots, ".JPG", config)
    for i, shot in enumerate(shots):
        if shot.labelled:
            frame = f"frame_{i + 1:05d}"
            write_json(root / "label" / name / f"{frame}.json", lerf_label(f"{frame}.jpg", shot.masks))


_WRITERS = {
    "lerf_ovs": _lerf_ovs,
    "3d_ovs": _3d_ovs,
    "scannet": _scannet,
    "mipnerf360_goi": _mipnerf360_goi,
    "mipnerf360_gags": _mipnerf360_gags,
}


_LABELS_OUTSIDE = ("lerf_ovs", "mipnerf360_goi", "mipnerf360_gags")  # in label/<scene>, beside the scene folders


def _renamed(shots: list[Shot], name: Callable[[int], str]) -> list[Shot]:
    return [replace(shot, camera=replace(shot.camera, name=name(i))) for i, shot in enumerate(shots)]


def _colmap_scene(folder: Path, shots: list[Shot], suffix: str, config: LayoutConfig) -> None:
    scene = SceneFolder(folder)
    views = [shot.camera for shot in shots]
    for shot in shots:
        _save(scene.images / f"{shot.camera.name}{suffix}", shot.picture.image)
    pictures = {shot.camera.name: shot.picture for shot in shots}
    cloud = sample_cloud(views, pictures, config.points, config.seed)
    write_colmap(scene.sparse, views, [f"{camera.name}{suffix}" for camera in views], cloud)


def _save(path: Path, pixels: np.ndarray) -> None:
    with atomic(path) as temporary:
        kind = "PNG" if path.suffix == ".png" else "JPEG"
        Image.fromarray(pixels).save(temporary, format=kind, **({} if kind == "PNG" else {"quality": 95, "subsampling": 0}))


if __name__ == "__main__":
    command_line.run(write_layout, LayoutConfig)
