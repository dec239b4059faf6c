"""The folder `objects/` of a model: indices of found instances, their description and pictures, edited splats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Bool, Int32

from gaussian_renderer.trained_model import TrainedModel
from query.objects import editing
from query.objects.coordinates import Frame
from query.objects.description import LocatedObject, document
from query.objects.finding import FoundPhrase, members_mask
from query.objects.report import write_report
from query.objects.views import best_views
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from scene.ply import read_vertices, write_vertices
from workspace import InputError, ModelFolder, load_array, save_array, write_json
from workspace.owned_files import OwnedFiles, remove_abandoned

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


@dataclass(frozen=True)
class Saved:
    """What a saved answer left in the folder."""

    located: list[LocatedObject]
    splats: list[Path]
    """Edited splat files of the phrases, earlier ones of the same instances included."""
    deleted: list[Path]
    """Splat files of an earlier answer to the phrases with other instances."""
    others: list[Path]
    """Splat files of phrases asked for before; they stay."""


def save_answers(
    model: ModelFolder,
    found: Sequence[FoundPhrase],
    trained: TrainedModel,
    cameras: Sequence[Camera],
    frame: Frame,
    known: Bool[np.ndarray, " n"],
    edits: Edits,
    settings: Mapping[str, Any],
) -> Saved:
    """Write the answers to the folder: indices, objects.json, the report, and the splat files that `edits` asks for.

    Indices of earlier answers are deleted, and the splat files of an earlier answer to one of these phrases with other instances.
    Only files that an earlier call wrote are deleted. Several processes take turns.

    Args:
        model: folder with the trained Gaussians.
        found: instances by phrase, nothing found included.
        trained: the Gaussians.
        cameras: of the scene.
        frame: of the description.
        known: True for Gaussians with an embedding; removal takes the others inside an instance along.
        edits: splat files to write; phrases without an instance get none.
        settings: what decided the answers, for objects.json.
    """
    vertices = read_vertices(model.point_cloud(trained.iteration)) if edits else None
    labels = {answer.phrase: _labels(answer, len(trained.gaussians)) for answer in found}
    folder, mine = OwnedFiles(model.objects), {model.object_folder(answer.phrase) for answer in found}
    model.objects.mkdir(parents=True, exist_ok=True)
    with FileLock(model.objects / ".lock"):
        folder.begin()
        remove_abandoned(model.objects)
        earlier = _splats(folder)
        changed = {model.object_folder(one) for one, numbers in labels.items() if not _is_current(model, trained, one, numbers)}
        kept = {path for path in earlier if path.parent not in changed}
        kept |= {path.with_name("labels.npy") for path in kept}  # describe the splat files beside them
        folder.discard([model.located, model.objects_report])  # first: they name what is deleted next
        folder.discard(set(folder.listed()) - kept)
        with folder.recording():
            for answer in found:
                for number, instance in enumerate(answer.instances, 1):
                    save_array(model.object_indices(answer.phrase, number), instance.members)
            described = located(model, found, trained.gaussians, cameras, frame)
            if vertices is not None:
                _save_edits(model, vertices, found, labels, edits, known)
            write_json(model.located, document([answer.phrase for answer in found], described, frame, dict(settings)))
            write_report(model.objects_report, found, described, trained, cameras, frame)
        now = _splats(folder)
    return Saved(
        described,
        [path for path in now if path.parent in mine],
        [path for path in earlier if path not in now],
        [path for path in now if path.parent not in mine],
    )


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


def removed_mask(answer: FoundPhrase, known: Bool[np.ndarray, " n"], means: np.ndarray) -> Bool[np.ndarray, " n"]:
    """The Gaussians that removing the phrase's instances deletes: their members and what is hidden inside them."""
    gone = np.zeros(len(means), bool)
    for instance in answer.instances:
        gone |= editing.with_unknown_inside(members_mask([instance], len(means)), known, means)
    return gone


def _save_edits(
    model: ModelFolder,
    vertices: np.ndarray,
    found: Sequence[FoundPhrase],
    labels: Mapping[str, Int32[np.ndarray, " n"]],
    edits: Edits,
    known: Bool[np.ndarray, " n"],
) -> None:
    """Write splat files with vertices of the trained file, so that nothing else changes, and the labels beside them."""
    means = np.stack([vertices[axis] for axis in "xyz"], 1).astype(np.float32)
    for answer in (answer for answer in found if answer.instances):
        numbers = labels[answer.phrase]
        save_array(model.object_labels(answer.phrase), numbers)
        if edits.extract:
            for number in range(1, len(answer.instances) + 1):
                write_vertices(model.object_splats(answer.phrase, f"instance_{number}"), vertices[numbers == number])
        if edits.remove:
            gone = removed_mask(answer, known, means)
            write_vertices(model.object_splats(answer.phrase, "removed"), editing.removed(vertices, gone))
        if edits.recolor is not None:
            painted = editing.recolored(vertices, numbers > 0, np.array(edits.recolor, np.uint8))
            write_vertices(model.object_splats(answer.phrase, "recolored"), painted)


def _labels(answer: FoundPhrase, num_gaussians: int) -> Int32[np.ndarray, " n"]:
    """Instance number of every Gaussian, from 1; 0 for none."""
    labels = np.zeros(num_gaussians, np.int32)
    for number, instance in enumerate(answer.instances, 1):
        labels[instance.members] = number
    return labels


def _splats(folder: OwnedFiles) -> list[Path]:
    return sorted(path for path in folder.listed() if path.suffix == ".ply" and path.is_file())


def _is_current(model: ModelFolder, trained: TrainedModel, phrase: str, labels: Int32[np.ndarray, " n"]) -> bool:
    """Whether the splat files of the phrase are of these instances, and of the Gaussians as trained now."""
    path = model.object_labels(phrase)
    if not path.is_file() or path.stat().st_mtime < model.point_cloud(trained.iteration).stat().st_mtime:
        return False
    try:
        return np.array_equal(load_array(path), labels)
    except InputError:
        return False
