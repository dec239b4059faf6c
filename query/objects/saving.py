"""The files of found instances in a model folder: indices, labels, edited splats, and their description."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from query.objects import editing
from query.objects.coordinates import Frame
from query.objects.description import LocatedObject
from query.objects.finding import FoundPhrase, members_mask
from query.objects.views import best_views
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from scene.ply import read_vertices
from workspace import InputError, ModelFolder, save_array

VIEWS = 3  # views listed for each instance


@dataclass(frozen=True)
class Edits:
    """Splat files to write for every phrase."""

    extract: bool = False
    """Each instance alone."""
    remove: bool = False
    """The scene without the instances."""
    recolor: tuple[int, int, int] | None = None
    """The scene with the instances in this colour, 0 to 255."""

    def __post_init__(self):
        color = self.recolor
        if color is not None and not (len(color) == 3 and all(0 <= value <= 255 for value in color)):
            raise InputError(f"--recolor {' '.join(map(str, color))}: expected red, green and blue from 0 to 255.")

    def __bool__(self) -> bool:
        return self.extract or self.remove or self.recolor is not None


def save_instances(
    model: ModelFolder, found: Sequence[FoundPhrase], gaussians: GaussianModel, cameras: Sequence[Camera], frame: Frame
) -> list[LocatedObject]:
    """Write the Gaussian indices of every instance, and describe them. Files of earlier answers to the phrases are deleted."""
    for answer in found:
        for outdated in model.object_files(answer.phrase):
            outdated.unlink()
        for number, instance in enumerate(answer.instances, 1):
            save_array(model.object_indices(answer.phrase, number), instance.members)
    return located(model, found, gaussians, cameras, frame)


def located(
    model: ModelFolder,
    found: Sequence[FoundPhrase],
    gaussians: GaussianModel,
    cameras: Sequence[Camera],
    frame: Frame,
    num_views: int = VIEWS,
) -> list[LocatedObject]:
    """Describe every instance, in the output frame, with at most `num_views` photographs; nothing is written.

    The photographs cost renderings; none are rendered when `num_views` is 0.
    """
    means, opacities, described = gaussians.means.cpu().numpy(), gaussians.opacities.cpu().numpy(), []
    for answer in found:
        for number, instance in enumerate(answer.instances, 1):
            members = members_mask([instance], len(gaussians))
            views = best_views(members, gaussians, cameras, num_views) if num_views else []
            path = model.object_indices(answer.phrase, number).relative_to(model.objects).as_posix()
            described.append(
                LocatedObject.of(answer.phrase, number, answer.level, instance, means, opacities, frame, views, path)
            )
    return described


def save_edits(
    model: ModelFolder, iteration: int, found: Sequence[FoundPhrase], edits: Edits, known: Bool[np.ndarray, " n"]
) -> None:
    """Write the requested splat files, and the instance number of every Gaussian beside them.

    Vertices are those of the trained file, so that nothing else changes. Phrases without an instance get no file.

    Args:
        model: folder with the trained Gaussians.
        iteration: of the trained file.
        found: instances by phrase.
        edits: which files to write.
        known: True for Gaussians with an embedding; removal takes the others inside an instance along.
    """
    if not edits:
        return
    vertices = read_vertices(model.point_cloud(iteration))
    means = np.stack([vertices[axis] for axis in "xyz"], 1).astype(np.float32)
    for answer in found:
        if not answer.instances:
            continue
        labels = np.zeros(len(vertices), np.int32)
        for number, instance in enumerate(answer.instances, 1):
            labels[instance.members] = number
            if edits.extract:
                editing.write_vertices(model.object_splats(answer.phrase, f"instance_{number}"), vertices[labels == number])
        save_array(model.object_labels(answer.phrase), labels)
        if edits.remove:
            gone = removed_mask(answer, known, means)
            editing.write_vertices(model.object_splats(answer.phrase, "removed"), editing.removed(vertices, gone))
        if edits.recolor is not None:
            painted = editing.recolored(vertices, labels > 0, np.array(edits.recolor, np.uint8))
            editing.write_vertices(model.object_splats(answer.phrase, "recolored"), painted)


def removed_mask(answer: FoundPhrase, known: Bool[np.ndarray, " n"], means: np.ndarray) -> Bool[np.ndarray, " n"]:
    """The Gaussians that removing the phrase's instances deletes: their members and what is hidden inside them."""
    gone = np.zeros(len(means), bool)
    for instance in answer.instances:
        gone |= editing.with_unknown_inside(members_mask([instance], len(means)), known, means)
    return gone
