"""What to ask where: the views of a scene that a query or a benchmark looks at, with what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.labels import Truth, match_views, read_3d_ovs, read_lerf_ovs
from evaluation.mipnerf360 import gags_views, read_goi
from evaluation.scores import HELD_OUT, TRAINING, Split
from scene.camera import Camera
from scene.dataset import Scene
from workspace import InputError

Protocol = Literal["lerf_ovs", "3d_ovs", "mipnerf360_goi", "mipnerf360_gags"]


@dataclass(frozen=True)
class Task:
    """One view to look at."""

    camera: Camera
    split: Split
    truth: Truth | None = None


@dataclass(frozen=True)
class Labels:
    """Ground truth of a scene by image key, and the classes of a 3D-OVS scene."""

    truths: dict[str, Truth]
    classes: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every labelled phrase, in the order of first appearance."""
        return tuple(dict.fromkeys([*self.classes, *(phrase for truth in self.truths.values() for phrase in truth.phrases)]))


def read_labels(folder: Path, protocol: Protocol, keys: Sequence[str], training: Sequence[str]) -> Labels:
    """Labels of a folder in the format of `protocol`, matched to the images `keys` by name; InputError as the readers raise.

    GAGS names its labels after the place of the view among the `training` ones instead.
    """
    classes: Sequence[str] = ()
    if protocol == "3d_ovs":
        classes, frames = read_3d_ovs(folder)
    elif protocol == "mipnerf360_goi":
        frames = read_goi(folder)
    else:
        frames = read_lerf_ovs(folder)
    names = [frame.name for frame in frames]
    matched = gags_views(names, keys, training) if protocol == "mipnerf360_gags" else match_views(names, keys)
    return Labels({matched[frame.name]: frame for frame in frames}, tuple(classes))


def choose_tasks(scene: Scene, labels: Labels | None, split: Literal["train", "test", "all"], views: Sequence[str]) -> list[Task]:
    """Views of the split, or those named, or of these the labelled ones; sorted by name.

    Raises:
        InputError: a name is no image of the scene, or nothing is left to look at.
    """
    cameras = [(camera, TRAINING) for camera in scene.train] + [(camera, HELD_OUT) for camera in scene.test]
    cameras.sort(key=lambda pair: pair[0].name)
    keys = [camera.name for camera, _ in cameras]
    chosen = set(match_views(views, keys, asked=True).values()) if views else set(keys)
    wanted = {"train": (TRAINING,), "test": (HELD_OUT,), "all": (TRAINING, HELD_OUT)}[split]
    tasks = [
        Task(camera, side, labels.truths.get(camera.name) if labels else None)
        for camera, side in cameras
        if camera.name in chosen and side in wanted
    ]
    if labels:
        tasks = [task for task in tasks if task.truth is not None]
    if not tasks:
        raise InputError(
            f"No {'labelled ' if labels else ''}view to look at, of {len(scene.train)} training and {len(scene.test)} held-out "
            f"views, {len(chosen)} asked for, with --split {split}. Views are held out when RGB training runs with --eval."
        )
    return tasks
