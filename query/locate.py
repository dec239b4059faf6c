"""The locate stage: from phrases to instances with positions and boxes, and edited splat files on request."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from query.objects.coordinates import Frame, checked, measured_scale, read_frame, write_frame
from query.objects.description import LocatedObject
from query.objects.finding import FoundPhrase, InstanceOptions, ObjectFinder
from query.objects.saving import Edits, save_answers
from query.question import clean_phrases
from query.session import RelevancyConfig, Session
from query.tables import counted, shortened, table
from workspace import InputError, ModelFolder

log = logging.getLogger(__name__)

NAMED = 5  # splat files of earlier questions that the terminal names


@dataclass(frozen=True)
class LocateConfig(InstanceOptions, RelevancyConfig):
    """What to look for, in which model, and what to do with what is there."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder of train.py."""
    text: tuple[str, ...] = ()
    """Phrases to look for, each in quotes."""
    level: str | None = None
    """Look at one level (default, s, m, l, grid) instead of those that answer each phrase best."""
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


def locate(config: LocateConfig) -> None:
    """Find objects in 3D: instances with positions and boxes (objects.json), pictures (report.html), edited splat files."""
    _refuse_meaningless(config)
    edits = Edits(config.extract, config.remove, config.recolor)
    config = replace(config, text=clean_phrases(config.text), negatives=clean_phrases(config.negatives))
    model = ModelFolder(config.model_path)
    frame = _frame(config, model)
    session = Session.open(config, model, config.level)
    if frame != read_frame(model.frame):
        write_frame(model.frame, frame)
    question = session.question(config.text, config.negatives)
    trained, cameras = session.field.trained, [*session.scene.train, *session.scene.test]
    finder = ObjectFinder(session.field)
    found = finder.find(question, config)
    saved = save_answers(model, found, trained, cameras, frame, finder.known, edits, _settings(config, session))
    sys.stdout.write(f"{_table(found, saved.located, frame)}\nobjects: {model.located}\nreport: {model.objects_report}\n")
    sys.stdout.writelines(f"splats: {path}\n" for path in saved.splats)
    absent = [answer.phrase for answer in found if not answer.instances]
    sys.stdout.writelines(f"no splats of what is not here: {shortened(phrase)}\n" for phrase in absent if edits)
    sys.stdout.writelines(f"deleted with the earlier answer: {path}\n" for path in saved.deleted)
    sys.stdout.writelines(f"kept from an earlier question: {path}\n" for path in saved.others[:NAMED])
    if len(saved.others) > NAMED:
        sys.stdout.write(f"and {counted(len(saved.others) - NAMED, 'more splat file')} of earlier questions in {model.objects}\n")


def _settings(config: LocateConfig, session: Session) -> dict[str, Any]:
    """Settings of the command that decide its answers."""
    options = {one.name: getattr(config, one.name) for one in fields(InstanceOptions)}
    return options | {"level": config.level, "field": session.model.field, **session.relevancy(config.negatives)}


def _refuse_meaningless(config: LocateConfig) -> None:
    if not config.text:
        raise InputError('Nothing to look for. Add --text "red mug" "wooden spoon".')
    config.check()
    if (config.measured is None) != (config.metres is None):
        raise InputError("--measured and --metres belong together: two points, and their distance in metres.")
    if config.measured is not None and config.scale is not None:
        raise InputError("--scale and --measured both say the scale; give one of them.")


def _frame(config: LocateConfig, model: ModelFolder) -> Frame:
    """The frame stored with the model, updated from the command line."""
    frame = read_frame(model.frame)
    scale = config.scale if config.measured is None else measured_scale(config.measured, config.metres)
    return checked(frame.up if config.up is None else config.up, frame.scale if scale is None else scale)


def _table(found: Sequence[FoundPhrase], located: Sequence[LocatedObject], frame: Frame) -> str:
    unit = " (m)" if frame.scale is not None else ""
    rows = []
    for answer in found:
        mine = [one for one in located if one.phrase == answer.phrase]
        for one in mine:
            size = [high - low for low, high in zip(one.box.min, one.box.max, strict=True)]
            view = one.views[0].image if one.views else "-"
            cells = [" ".join(f"{value:.3f}" for value in triple) for triple in (one.center, size)]
            rows.append(
                [shortened(answer.phrase), str(one.instance), one.level, f"{one.score:.3f}", str(one.gaussians), *cells, view]
            )
        if not mine:
            rows.append([shortened(answer.phrase), "-", answer.level, f"{answer.best:.3f}", "0", "not here", "-", "-"])
    return table(["phrase", "instance", "level", "score", "Gaussians", f"center{unit}", f"size{unit}", "best view"], rows)
