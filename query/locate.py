"""The locate stage: from phrases to instances with positions and boxes, and edited splat files on request."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Bool

from query.objects import editing
from query.objects.coordinates import Frame, checked, measured_scale, read_frame, write_frame
from query.objects.description import LocatedObject, document
from query.objects.instances import Instance, Neighbours, ThresholdRule, find_instances, selected
from query.objects.views import best_views
from query.question import Question, clean_phrases
from query.session import RelevancyConfig, Session
from query.tables import table
from scene.ply import read_vertices
from workspace import InputError, ModelFolder, save_array, write_json

log = logging.getLogger(__name__)

VIEWS = 3  # views listed for each instance


@dataclass(frozen=True)
class LocateConfig(RelevancyConfig):
    """What to look for, in which model, and what to do with what is there."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder of train.py."""
    text: tuple[str, ...] = ()
    """Phrases to look for, each in quotes."""
    level: str | None = None
    """Look at one level (default, s, m, l, grid) instead of the one that answers each phrase best."""
    rule: ThresholdRule = "fixed"
    """How a Gaussian is selected: relevancy above --threshold; above that share of the range; or by Otsu's threshold, which is
    not let below it."""
    threshold: float = 0.5
    """In (0, 1); with the fixed rule, 0.5 means that a phrase beats every negative."""
    neighbours: int = 10
    """Relevancy is the mean over this many nearest Gaussians; 1 for none."""
    min_gaussians: int = 20
    """Smaller groups are no instance."""
    instances: int | None = None
    """Only so many instances of each phrase, best first."""
    up: tuple[float, float, float] | None = None
    """Direction in scene coordinates that points up; remembered with the model."""
    scale: float | None = None
    """Metres per scene unit; remembered with the model."""
    measured: tuple[float, float, float, float, float, float] | None = None
    """Two points, x y z x y z in scene coordinates, whose distance is --metres: another way to give the scale."""
    metres: float | None = None
    """Distance of the two points of --measured."""
    extract: bool = False
    """Write each instance as a splat file of its own: objects/<phrase>/instance_<i>.ply."""
    remove: bool = False
    """Write the scene without the phrase's instances: objects/<phrase>/removed.ply."""
    recolor: tuple[int, int, int] | None = None
    """Write the scene with the phrase's instances in this colour, 0 to 255: objects/<phrase>/recolored.ply."""


@dataclass(frozen=True)
class FoundPhrase:
    """The instances of one phrase."""

    phrase: str
    level: str
    instances: tuple[Instance, ...]
    best: float
    """Highest smoothed relevancy of any Gaussian."""


def locate(config: LocateConfig) -> None:
    """Find objects in 3D: instances with positions and boxes in objects/objects.json, and edited splat files."""
    _refuse_meaningless(config)
    config = replace(config, text=clean_phrases(config.text), negatives=clean_phrases(config.negatives))
    model = ModelFolder(config.model_path)
    frame = _frame(config, model)
    session = Session.open(config, model, config.level)
    question = session.question(config.text, config.negatives)
    gaussians = session.field.trained.gaussians
    found = find_phrases(question, config)
    cameras = [*session.scene.train, *session.scene.test]
    means, opacities = gaussians.means.cpu().numpy(), gaussians.opacities.cpu().numpy()
    located = []
    for answer in found:
        for outdated in model.object_files(answer.phrase):  # of an earlier answer with other instances
            outdated.unlink()
        for number, instance in enumerate(answer.instances, 1):
            path = model.object_indices(answer.phrase, number)
            save_array(path, instance.members)
            views = best_views(_mask([instance], len(means)), gaussians, cameras, VIEWS)
            where = path.relative_to(model.objects).as_posix()
            located.append(LocatedObject.of(answer.phrase, number, answer.level, instance, means, opacities, frame, views, where))
    _edit(config, model, session.field.trained.iteration, session.field.known.any(1).cpu().numpy(), means, found)
    settings = {name: getattr(config, name) for name in ("level", "rule", "threshold", "neighbours", "min_gaussians")}
    settings |= {"field": session.model.field, "negatives": list(config.negatives)}
    write_json(model.located, document(question.phrases, located, frame, settings))
    sys.stdout.write(f"{_table(found, located, frame)}\nobjects: {model.located}\n")


def find_phrases(question: Question, config: LocateConfig) -> list[FoundPhrase]:
    """The instances of every phrase. Gaussians without an embedding are excluded.

    The level is the one whose smoothed relevancy is highest at any Gaussian, the first on ties.
    """
    field = question.field
    known = field.known.any(1).cpu().numpy()
    index = np.flatnonzero(known)
    gaussians = field.trained.gaussians
    means, opacities = gaussians.means.cpu().numpy()[known], gaussians.opacities.cpu().numpy()[known]
    relevancy = question.gaussian_relevancy.cpu().numpy()[known]
    neighbours = Neighbours(means, config.neighbours)
    answers = []
    for place, phrase in enumerate(question.phrases):
        smooth = [neighbours.smoothed(relevancy[:, level, place]) for level in range(len(field.levels))]
        peaks = [float(values.max()) if len(values) else 0.0 for values in smooth]
        level = int(np.argmax(peaks))
        chosen = selected(smooth[level], config.rule, config.threshold)
        instances = find_instances(smooth[level], chosen, means, opacities, config.min_gaussians)[: config.instances]
        instances = tuple(Instance(index[one.members], one.score) for one in instances)
        answers.append(FoundPhrase(phrase, field.levels[level], instances, peaks[level]))
    return answers


def _refuse_meaningless(config: LocateConfig) -> None:
    if not config.text:
        raise InputError('Nothing to look for. Add --text "red mug" "wooden spoon".')
    if not 0 < config.threshold < 1:
        raise InputError(f"--threshold {config.threshold}: expected a value between 0 and 1.")
    for name in ("neighbours", "min_gaussians", "instances"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more.")
    if config.recolor is not None and not all(0 <= value <= 255 for value in config.recolor):
        raise InputError(f"--recolor {' '.join(map(str, config.recolor))}: expected red, green and blue from 0 to 255.")
    if (config.measured is None) != (config.metres is None):
        raise InputError("--measured and --metres belong together: two points, and their distance in metres.")
    if config.measured is not None and config.scale is not None:
        raise InputError("--scale and --measured both say the scale; give one of them.")


def _frame(config: LocateConfig, model: ModelFolder) -> Frame:
    """The frame stored with the model, updated from the command line."""
    frame = read_frame(model.frame)
    scale = config.scale if config.measured is None else measured_scale(config.measured, config.metres)
    given = checked(frame.up if config.up is None else config.up, frame.scale if scale is None else scale)
    if given != frame:
        write_frame(model.frame, given)
    return given


def _edit(
    config: LocateConfig,
    model: ModelFolder,
    iteration: int,
    known: Bool[np.ndarray, " n"],
    means: np.ndarray,
    found: Sequence[FoundPhrase],
) -> None:
    """Write the requested splat files from the rows of the trained file, so that nothing else changes."""
    if not (config.extract or config.remove or config.recolor is not None):
        return
    vertices = read_vertices(model.point_cloud(iteration))
    for answer in found:
        labels = np.zeros(len(means), np.int32)
        for number, instance in enumerate(answer.instances, 1):
            labels[instance.members] = number
            if config.extract:
                editing.write_vertices(model.object_splats(answer.phrase, f"instance_{number}"), vertices[labels == number])
        if not answer.instances:
            continue
        save_array(model.object_labels(answer.phrase), labels)
        if config.remove:
            gone = np.zeros(len(means), bool)
            for instance in answer.instances:
                gone |= editing.with_unknown_inside(_mask([instance], len(means)), known, means)
            editing.write_vertices(model.object_splats(answer.phrase, "removed"), editing.removed(vertices, gone))
        if config.recolor is not None:
            color = np.array(config.recolor, np.uint8)
            painted = editing.recolored(vertices, labels > 0, color)
            editing.write_vertices(model.object_splats(answer.phrase, "recolored"), painted)


def _mask(instances: Sequence[Instance], count: int) -> Bool[np.ndarray, " n"]:
    mask = np.zeros(count, bool)
    for instance in instances:
        mask[instance.members] = True
    return mask


def _table(found: Sequence[FoundPhrase], located: Sequence[LocatedObject], frame: Frame) -> str:
    unit = " (m)" if frame.scale is not None else ""
    rows = []
    for answer in found:
        mine = [one for one in located if one.phrase == answer.phrase]
        for one in mine:
            size = [high - low for low, high in zip(one.box.min, one.box.max, strict=True)]
            view = one.views[0].image if one.views else "-"
            cells = [" ".join(f"{value:.3f}" for value in triple) for triple in (one.center, size)]
            rows.append([answer.phrase, str(one.instance), one.level, f"{one.score:.3f}", str(one.gaussians), *cells, view])
        if not mine:
            rows.append([answer.phrase, "-", answer.level, f"{answer.best:.3f}", "0", "not here", "-", "-"])
    return table(["phrase", "instance", "level", "score", "Gaussians", f"center{unit}", f"size{unit}", "best view"], rows)
