"""Definition of a protocol that compares answers with labelled views, and matching of its labels to a scene."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.labels import OutlinedFrame, Truth
from scene.dataset import Scene
from scene.image_names import match_names
from workspace import InputError

SHOWN = 5  # views listed in a message
STRETCH = 0.05  # by which the aspect ratio of a label may differ from that of its view, far above the rounding of sizes


@dataclass(frozen=True)
class LabelSet:
    """The labels of one scene as stored in its files."""

    frames: Sequence[Truth]
    classes: tuple[str, ...] = ()
    """Classes that compete for every pixel; empty when the benchmark has none."""


@dataclass(frozen=True)
class Measure:
    """One measure of a benchmark, with its published figures."""

    name: str
    """Key in metrics.json."""
    title: str
    published: Mapping[str, tuple[float, ...]]
    """Per cent by method: the scenes in the protocol's order, then the overall figure as printed."""


def match_by_name(names: Sequence[str], keys: Sequence[str], training: Sequence[str] = ()) -> dict[str, str]:
    """Image key of every label: the identical key, or the only key with that last part; InputError when there is none."""
    return match_names(names, keys, "label", "Labels and images do not match by name", "Give the labels of this scene.")


@dataclass(frozen=True)
class LabelProtocol:
    """A benchmark: how its labels are read and matched to views, and the figures to compare with.

    A new protocol is a file in `protocols` that defines a LabelProtocol, and a line in `catalogue`.
    """

    read: Callable[[Path], LabelSet]
    """Labels of one scene from their folder; InputError when they are not of this format."""
    scenes: tuple[str, ...]
    """Scenes of the benchmark, in the order of tables."""
    measures: tuple[Measure, ...]
    """Measures in the table of the benchmark."""
    match: Callable[[Sequence[str], Sequence[str], Sequence[str]], dict[str, str]] = match_by_name
    """Image key by label name, from the label names, the keys of all images, and the keys of the training views."""
    figures: Callable[[Path, Mapping[str, Path]], Mapping[str, Any]] | None = None
    """Additional figures, from the folder of the labels and the folder of answer pictures of each label."""


@dataclass(frozen=True)
class Labels:
    """Ground truth of a scene by image key."""

    truths: Mapping[str, Truth]
    classes: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every labelled phrase, in the order of first appearance."""
        return tuple(dict.fromkeys([*self.classes, *(phrase for truth in self.truths.values() for phrase in truth.phrases)]))


def read_labels(folder: Path, protocol: LabelProtocol, scene: Scene) -> Labels:
    """Labels of a folder, matched to the images of the scene.

    Raises:
        InputError: the labels are not of the protocol's format, or not of this scene, two are of one view, or one has another
            shape.
    """
    # Names of views tell scenes apart badly: many have a frame_00001.
    given = {part for part in Path(os.path.abspath(folder)).parts[-2:] if part in protocol.scenes}  # noqa: PTH100
    name = scene.folder.name
    if name in protocol.scenes and given and name not in given:
        raise InputError(
            f"{folder} has the labels of {', '.join(given)}, and {scene.folder.root} is {name}. Give its own labels."
        )
    training = [camera.name for camera in scene.train]
    labels = protocol.read(folder)
    matched = protocol.match([frame.name for frame in labels.frames], [*training, *(c.name for c in scene.test)], training)
    of_view: dict[str, list[str]] = {}
    for frame in labels.frames:
        of_view.setdefault(matched[frame.name], []).append(frame.name)
    doubled = [f"{view} ({', '.join(names)})" for view, names in of_view.items() if len(names) > 1]
    if doubled:
        raise InputError(
            f"{folder} has several labels for one view: {'; '.join(doubled[:SHOWN])}. Expected one, in the folder of one scene."
        )
    truths = {matched[frame.name]: frame for frame in labels.frames}
    for camera in (*scene.train, *scene.test):
        frame = truths.get(camera.name)
        if isinstance(frame, OutlinedFrame) and abs(frame.width * camera.height / (frame.height * camera.width) - 1) > STRETCH:
            raise InputError(
                f"The label of {camera.name} in {folder} is for a picture of {frame.width} x {frame.height} pixels, and the view "
                f"has {camera.width} x {camera.height}: outlines would be stretched. Expected the same shape at any size."
            )
    return Labels(truths, labels.classes)
