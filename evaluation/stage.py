"""The query stage: phrases or benchmark labels in, answers, figures, pictures and a report out."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from tqdm import tqdm

from evaluation.answering import AnsweredView, Stopwatch, answer_view
from evaluation.mipnerf360 import goi_measures
from evaluation.rules import DEFAULT_THRESHOLD, RuleName, rule
from evaluation.scores import Row, as_json, by_split, over_runs, summary
from evaluation.tables import runs_table, summary_table, top_table
from evaluation.tasks import Protocol, choose_tasks, read_labels
from features.registry import text_encoder
from features.text import TextOptions
from query.field import load_field
from query.pictures import blend, encoded, mask_picture, overlay, painting
from query.question import Compare, Question, refuse_blank
from query.report import Report
from scene.photographs import load_image
from workspace import InputError, ModelFolder, atomic, write_json
from workspace.device import Device, chosen_device
from workspace.record import RECORD, stage
from workspace.slugs import slug

log = logging.getLogger(__name__)

PLATEAU = 100  # pixels sharing the maximum; more than that is a map without contrast
PAINT_OPACITY = 0.65


@dataclass(frozen=True)
class QueryConfig(TextOptions):
    """What to ask, of which model, and in which views."""

    source_path: Annotated[Path | None, tyro.conf.arg(aliases=["-s"])] = None
    """Scene folder; by default the one the model was trained from."""
    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])] = ()
    """Model folder, by default output/<scene>. Several are taken as repetitions of one experiment: mean and spread are added."""
    text: tuple[str, ...] = ()
    """Phrases to look for, each in quotes."""
    classes: tuple[str, ...] = ()
    """Phrases that compete for every pixel: the view is painted by the best of them."""
    labels: Path | None = None
    """Folder with the ground truth of this scene; its phrases are asked in the labelled views."""
    protocol: Protocol = "lerf_ovs"
    """Format and rules of the labels (docs/protocols.md)."""
    split: Literal["train", "test", "all"] = "all"
    """Views to look at: training views, held-out views, or both."""
    names: tuple[str, ...] = ()
    """Only these images: names below images/ without extension, or their last part where it is unique."""
    negatives: tuple[str, ...] = ()
    """Phrases that stand for everything else, instead of: object, things, stuff, texture."""
    rule: RuleName = "langsplat"
    """How maps become a mask and a point, named by who published it (docs/protocols.md). Figures of two rules do not compare."""
    mask_thresh: float = DEFAULT_THRESHOLD
    """Where to cut the relevancy, stretched to [-1, 1] over its range in the view; in [0, 1)."""
    level: str | None = None
    """Look at one level (default, s, m, l, grid) instead of choosing the best for every phrase and view."""
    compare: Compare = "decoded"
    """Compare phrases with decoded features, or in the compressed space without negatives, as DinoSplat does."""
    shuffled_control: bool = False
    """Also judge every phrase by the truth of the others: what chance and the scene's layout would score."""
    resolution: Annotated[int | None, tyro.conf.arg(aliases=["-r"])] = None
    """Size of the views: 1, 2, 4, 8 divide, other values are a width in pixels; by default as in training."""
    report_views: int = 24
    """Views in the report, those with the highest scores; all are in metrics.json and have pictures."""
    device: Device = "auto"
    """Where to compute."""


_UNRECORDED = ("model_path", "report_views", "device")  # they do not change an answer


def eval_query(config: QueryConfig) -> None:
    """Ask a scene in plain words, or measure it on a benchmark."""
    if not (config.text or config.classes or config.labels):
        raise InputError('Nothing to ask. Add --text "red mug", or --classes "mug" "table" "wall", or --labels <folder>.')
    rule(config.rule, config.mask_thresh)
    if len(config.classes) == 1:
        raise InputError(f"--classes needs at least two classes to choose between, not only {config.classes[0]!r}.")
    refuse_blank(*config.text, *config.classes, *config.negatives)
    device = chosen_device(config.device)
    models = [ModelFolder(path) for path in config.model_path] or [ModelFolder.of(config.source_path, None)]
    summaries = [_evaluate(config, model, device) for model in models]
    if len(models) > 1 and all(summaries):
        spread = over_runs(summaries)
        write_json(models[0].runs, {"models": [str(model.root) for model in models], "measures": spread})
        sys.stdout.write(f"\n{runs_table(spread, len(models))}\nwritten to {models[0].runs}\n")


def _evaluate(config: QueryConfig, model: ModelFolder, device: torch.device) -> dict[str, Any]:
    """Evaluate one model folder; returns its summary, empty without ground truth."""
    field = load_field(model, device, config.level)
    scene = field.trained.scene(config.source_path, config.resolution)
    keys = [camera.name for camera in (*scene.train, *scene.test)]
    training = [camera.name for camera in scene.train]
    labels = read_labels(config.labels, config.protocol, keys, training) if config.labels else None
    tasks = choose_tasks(scene, labels, config.split, config.names)
    asked = tuple(dict.fromkeys([*config.text, *config.classes, *(labels.phrases if labels else ())]))
    if config.shuffled_control and (labels is None or len(labels.phrases) < 2):
        raise InputError(
            "--shuffled_control judges phrases by each other's ground truth: it needs --labels with two phrases or more."
        )
    encoder = text_encoder(field.features, device, config)
    question = Question.encode(asked, encoder, field.compressor, device, config.negatives, config.compare)
    classes = config.classes or (labels.classes if labels else ())

    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in _UNRECORDED}
    settings |= {
        name: None if settings[name] is None else str(settings[name]) for name in ("source_path", "labels", "talk2dino_ckpt")
    }
    inputs = field.fingerprint() | {"features": field.features}
    decide, watch = rule(config.rule, config.mask_thresh), Stopwatch(device)
    rows: list[Row] = []
    # An evaluation holds nothing that took long to make, so the folder always is the last question asked.
    with stage(model.evaluation, "eval", settings, inputs, overwrite=(model.evaluation / RECORD).exists()):
        report = Report(config.report_views)
        for task in tqdm(tasks, desc="views", unit="view", disable=None):
            own = task.truth.phrases if task.truth else ()
            phrases = list(dict.fromkeys([*config.text, *config.classes, *own]))
            view = answer_view(field, question, task, phrases, classes, decide, config.shuffled_control, watch)
            rows += view.rows
            photo = load_image(task.camera)
            _write_pictures(model, view, photo, classes)
            report.add(view, photo)
        figures = summary(rows)
        if labels and config.protocol == "mipnerf360_goi":
            figures |= goi_measures(config.labels, {task.truth.name: model.answer_pictures(task.camera.name) for task in tasks})
        seconds = {part: total / len(tasks) for part, total in watch.seconds.items()}
        metrics = {
            "scene": scene.folder.root.resolve().name,
            "protocol": config.protocol if labels else None,
            "rule": config.rule,
            **figures,
            "by_split": by_split(rows),
            "seconds_per_view": seconds,
            "phrases": len(asked),
            "levels": list(field.levels),
            "rows": as_json(rows),
        }
        write_json(model.metrics, metrics)
        report.write(model.report, metrics, settings | {"device": str(device), "model": str(model.root)}, list(classes))
    _warn_of_plateaus(rows)
    table = summary_table(figures, metrics["by_split"]) if figures else top_table(rows)
    sys.stdout.write(f"{table}\nanswers: {model.metrics}\nreport:  {model.report}\n")
    return figures


def _write_pictures(model: ModelFolder, view: AnsweredView, photo: Any, classes: Sequence[str]) -> None:
    key = view.task.camera.name
    pictures = {}
    for row in view.rows:
        name, found = slug(row.phrase), view.answers[row.phrase]
        pictures[name] = overlay(photo, found)
        pictures[f"{name}.mask"] = mask_picture(found.mask.cpu().numpy())
    if view.classes is not None:
        pictures["classes"] = blend(photo, painting(view.classes, len(classes)), PAINT_OPACITY)
    for name, picture in pictures.items():
        with atomic(model.answer_picture(key, name)) as temporary:
            temporary.write_bytes(encoded(picture, ".png"))


def _warn_of_plateaus(rows: Sequence[Row]) -> None:
    flat = [row for row in rows if row.ties > PLATEAU]
    if flat:
        log.warning(
            "%d of %d answers have no contrast: more than %d pixels share the maximum, and any of them counts as the point "
            "(first: %r in %s). The field may be untrained there.",
            len(flat), len(rows), PLATEAU, flat[0].phrase, flat[0].image,
        )  # fmt: skip
