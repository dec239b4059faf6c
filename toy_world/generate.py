"""The bundled scene: rendered photographs of a tabletop in a room, with exact ground truth.

`python -m toy_world -s <folder>` writes photographs, a COLMAP model, and for every held-out view (every 8th, the
ones `--eval` holds out) exact masks and LERF-OVS labels of objects and their parts. Any seed makes another world.
"""

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from scene.camera import Camera
from toy_world.compose import World, cameras, compose
from toy_world.labels import lerf_label, visible_masks
from toy_world.points import sample_cloud, write_colmap
from toy_world.render import Picture, Renderer
from workspace import InputError, SceneFolder, atomic, read_json, write_json
from workspace.processes import begin_worker, num_cores

MOST_OBJECTS = 20
SMALLEST_SIDE = 16  # pixels; training reads nothing smaller
WORTH_PROCESSES = 3_000_000  # pixels in total: a few seconds in one process, while starting more processes takes one second
FULL_DETAIL = 640  # pixels of width from which the light of the table and the floor is sampled finest
HELD_OUT = 8  # every 8th view, from the first, is for testing; the split of `--eval`
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToyWorldConfig:
    """A generated scene."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder to write."""
    seed: int = 0
    """Which world."""
    width: int = 640
    """Image width in pixels."""
    height: int = 480
    """Image height in pixels."""
    views: int = 72
    """Photographs; every 8th is held out with ground truth."""
    objects: int = 12
    """Objects on the table, 1 to 20."""
    points: int = 12000
    """Points of the COLMAP model, about."""


def write_toy_world(
    folder: Path, seed: int, width: int = 640, height: int = 480, views: int = 72, objects: int = 12, points: int = 12000
) -> World:
    """Write a scene folder with photographs, COLMAP model, labels, masks and part ids; returns the world.

    A folder that already holds the same world is left unchanged. An interrupted one is written again.

    Raises:
        InputError: a setting is invalid, or the folder holds another world or something else.
    """
    refuse_impossible(seed, width, height, views, objects, points)
    scene = SceneFolder(Path(folder))
    config = {"seed": seed, "width": width, "height": height, "views": views, "objects": objects, "points": points}
    world = compose(seed, objects)
    record = scene.part_ids / "parts.json"
    if record.exists():
        found = read_json(record)
        if found["config"] != config:
            raise InputError(
                f"{scene.root} holds another world ({found['config']}, now {config}). Remove it, or name another folder with -s."
            )
        if found["complete"]:
            log.info("%s already holds this world", scene.root)
            return world
    elif scene.images.exists():
        raise InputError(f"{scene.images} holds photographs that are not of a toy world. Name another folder with -s.")
    described = {"config": config, "parts": describe(world), "phrases": world.phrases()}
    write_json(record, {"complete": False, **described})
    shots = cameras(seed, views, width, height)
    pictures = render_views(world, shots)
    for camera in shots:
        _save_image(scene.images / f"{camera.name}.jpg", pictures[camera.name])
    _write_truth(scene, world, shots, pictures)
    cloud = sample_cloud(shots, pictures, points, seed)
    write_colmap(scene.sparse, shots, [f"{camera.name}.jpg" for camera in shots], cloud)
    write_json(record, {"complete": True, **described})
    return world


def refuse_impossible(seed: int, width: int, height: int, views: int, objects: int, points: int) -> None:
    """Raise InputError for settings that no world can be drawn with."""
    if not 1 <= objects <= MOST_OBJECTS:
        raise InputError(f"--objects {objects}: expected 1 to {MOST_OBJECTS}.")
    given = {"seed": seed, "width": width, "height": height, "views": views, "points": points}
    for name, least in (("seed", 0), ("width", SMALLEST_SIDE), ("height", SMALLEST_SIDE), ("views", 2), ("points", 4)):
        if given[name] < least:
            raise InputError(f"--{name} {given[name]}: expected {least} or more.")


def render_views(world: World, shots: Sequence[Camera]) -> dict[str, Picture]:
    """Pictures by camera name, rendered by one process per core; threads would contend for the interpreter lock.

    Raises:
        InputError: one of the processes was killed.
    """
    detail = min(1.0, shots[0].width / FULL_DETAIL)
    workers = min(num_cores(), len(shots))
    bar = partial(tqdm, total=len(shots), desc="toy world", unit="view")
    if workers == 1 or sum(camera.width * camera.height for camera in shots) < WORTH_PROCESSES:
        renderer = Renderer(world, detail)
        return {camera.name: picture for camera, picture in zip(shots, bar(map(renderer.render, shots)), strict=True)}
    context = multiprocessing.get_context("spawn")  # a forked child would inherit the locks of the parent's threads
    # Every process makes its own renderer. One made here, half a megabyte, does not fit in the pipe to a process, and a process
    # that dies before it has read all of it would leave this one waiting forever.
    try:
        with ProcessPoolExecutor(workers, context, _begin_process, (world, detail)) as pool:
            return {camera.name: picture for camera, picture in zip(shots, bar(pool.map(_render, shots)), strict=True)}
    except BrokenProcessPool as error:
        raise InputError(
            "A process that draws the toy world was killed, most likely because the memory is full. Run the command again, "
            "smaller (--width 320 --height 240) or on one core (taskset -c 0 python ...)."
        ) from error


def _begin_process(world: World, detail: float) -> None:
    global _renderer  # noqa: PLW0603 - the renderer that all tasks of this process share
    begin_worker()
    threadpool_limits(1)
    _renderer = Renderer(world, detail)


def _render(camera: Camera) -> Picture:
    return _renderer.render(camera)


def describe(world: World) -> list[dict[str, str | int | None]]:
    """Names and looks of the parts, in the order of their ids."""
    rows = []
    for item_index, part in world.parts:
        item = world.items[item_index]
        rows.append(
            {
                "object": item_index,
                "kind": item.kind,
                "phrase": item.phrase,
                "part": part.name,
                "shape": part.shape,
                "color": part.material.color,
                "texture": part.material.texture,
            }
        )
    return rows


def _write_truth(scene: SceneFolder, world: World, shots: Sequence[Camera], pictures: dict[str, Picture]) -> None:
    phrases = {p: ids for p, ids in world.phrases().items() if p not in ("floor", "wall")}
    areas = {p: [a for c in shots if (a := int(np.isin(pictures[c.name].parts, ids).sum()))] for p, ids in phrases.items()}
    usual = {p: float(np.median(a)) if a else np.inf for p, a in areas.items()}
    for i, camera in enumerate(shots):
        picture = pictures[camera.name]
        with atomic(scene.part_ids / f"{camera.name}.png") as temporary:
            Image.fromarray(picture.parts.astype(np.uint8)).save(temporary)
        if i % HELD_OUT:
            continue
        masks = visible_masks(picture.parts, phrases, usual)
        for phrase, mask in masks.items():
            with atomic(scene.mask(camera.name, phrase)) as temporary:
                Image.fromarray(mask.astype(np.uint8) * 255).save(temporary)
        write_json(scene.labels / f"{camera.name}.json", lerf_label(f"{camera.name}.jpg", masks))
        _save_image(scene.labels / f"{camera.name}.jpg", picture)


def _save_image(path: Path, picture: Picture) -> None:
    with atomic(path) as temporary:
        Image.fromarray(picture.image).save(temporary, quality=95, subsampling=0)


def main(config: ToyWorldConfig) -> None:
    """Generate a tabletop scene with exact ground truth: photographs, COLMAP model, masks, LERF-OVS labels."""
    settings = asdict(config)
    world = write_toy_world(settings.pop("source_path"), **settings)
    named = [item.phrase for item in world.items[: world.num_objects]]
    log.info("%s: %s", config.source_path, ", ".join(named))
