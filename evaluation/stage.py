"""The query stage: from phrases or benchmark labels to answers, figures, pictures and a report."""

import logging
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from evaluation.catalogue import PROTOCOLS, ProtocolName
from evaluation.judging import judge
from evaluation.procedure import distinct, field_files
from evaluation.protocol import Labels, read_labels
from evaluation.rules import DEFAULT_THRESHOLD, RuleName, rule
from evaluation.scores import as_json, by_split, over_runs, summary
from evaluation.tables import runs_table, summary_table
from query.asking import AnsweredView, Row, answer_view
from query.background_writer import Background
from query.picture_files import warn_of_plateaus, write_pictures
from query.question import clean_phrases
from query.ranking import best_views
from query.report import Report, Verdict
from query.session import Session, ViewQueryConfig
from query.tables import top_table
from query.views import SplitChoice, View, choose_views, no_views
from scene.photographs import load_image
from workspace import InputError, ModelFolder, write_json
from workspace.answer_folder import AnswerFolder
from workspace.clock import Clock
from workspace.owned_files import OwnedFiles
from workspace.record_types import EvalRecord
from workspace.replaced_folder import replaced_folder
from workspace.stage_record import plain, read_record, stage

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class QueryConfig(ViewQueryConfig):
    """What to ask, of which model, and in which views."""

    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])] = ()
    """Model folder, by default output/<scene>. Several are taken as repetitions of one experiment: mean and spread are added."""
    classes: tuple[str, ...] = ()
    """Phrases that compete for every pixel: the view is painted by the best of them."""
    labels: Path | None = None
    """Folder with the ground truth of this scene; its phrases are asked in the labelled views."""
    protocol: ProtocolName = "lerf_ovs"
    """Format and rules of the labels (docs/protocols.md)."""
    split: SplitChoice = "all"
    """Views to look at: training views, held-out views, or both."""
    all_views: bool = False
    """Answer phrases in all of these views, not only in the 12 that show most of them."""
    rule: RuleName = "langsplat"
    """How maps become a mask and a point, named by who published it (docs/protocols.md). Figures of two rules do not compare."""
    mask_thresh: float = DEFAULT_THRESHOLD
    """Where to cut the relevancy, stretched to [-1, 1] over its range in the view; in [0, 1)."""
    shuffled_control: bool = False
    """Also judge every phrase by the truth of the others: what chance and the scene's layout would score."""
    report_views: int = 24
    """Views in the report, those with the highest scores; all are in metrics.json and have pictures."""


MOST_VIEWS = 12  # default without --all_views, for a person to look at; answering all views of a scene takes minutes
# These settings do not change an answer; each field has its own folder.
_UNRECORDED = ("model_path", "field", "report_views", "device")


def eval_query(config: QueryConfig) -> None:
    """Ask a scene in plain words, or measure it on a benchmark."""
    if not (config.text or config.classes or config.labels):
        raise InputError('Nothing to ask. Add --text "red mug", or --classes "mug" "table" "wall", or --labels <folder>.')
    rule(config.rule, config.mask_thresh)
    if len(config.classes) == 1:
        raise InputError(f"--classes needs at least two classes to choose between, not only {config.classes[0]!r}.")
    config = replace(config, **{name: clean_phrases(getattr(config, name)) for name in ("text", "classes", "negatives")})
    models = [ModelFolder(path) for path in config.model_path] or [ModelFolder.of(config.source_path, None)]
    distinct([model.root for model in models])
    models, summaries, scenes = zip(*(_evaluate(config, model) for model in models), strict=True)
    if len(models) > 1 and all(summaries):
        if len(set(scenes)) > 1:
            raise InputError(
                f"These models are of several scenes, {', '.join(map(str, dict.fromkeys(scenes)))}, and no repetitions of one: "
                "their answers are written, without a mean. Tables of a benchmark: python -m evaluation.benchmark"
            )
        spread = over_runs(summaries)
        OwnedFiles(models[0].evaluation).add(models[0].runs)  # the next evaluation removes it with the others
        write_json(models[0].runs, {"models": [str(model.root) for model in models], "measures": spread})
        sys.stdout.write(f"\n{runs_table(spread, len(models))}\nwritten to {models[0].runs}\n")


def _evaluate(config: QueryConfig, folder: ModelFolder) -> tuple[ModelFolder, dict[str, Any], Path]:
    """Evaluate one model folder; returns it with the chosen field, the summary, empty without ground truth, and the scene."""
    session = Session.open(config, folder, config.level, config.resolution)
    model = session.model
    if config.labels and session.calibration:
        log.warning(
            "Temperature and negatives were calibrated on %s: figures on these labels compare with no published ones. Published "
            "values: --temperature 10 --negatives object things stuff texture",
            session.calibration.labels,
        )
    protocol = PROTOCOLS[config.protocol]
    labels = read_labels(config.labels, protocol, session.scene) if config.labels else None
    views = _views(config, session, labels)
    if config.shuffled_control and (labels is None or len(labels.phrases) < 2):
        raise InputError(
            "--shuffled_control judges phrases by each other's ground truth: it needs --labels with two phrases or more."
        )
    named = [*config.text, *config.classes]
    classes = config.classes or (labels.classes if labels else ())
    everything = [*named, *(labels.phrases if labels else ())]
    control = labels.phrases if config.shuffled_control else ()
    question = session.question(everything, config.negatives, classes, config.reading, config.compare)
    of_views = len(views)
    if not (config.all_views or labels or classes or config.names):
        views = best_views(question, views, MOST_VIEWS)
    _announce_replacement(config, model)
    decide, clock = rule(config.rule, config.mask_thresh), Clock(session.device)
    rows: list[Row] = []
    relevancy = session.relevancy(config.negatives)
    inputs = session.field.fingerprint() | {"field_files": field_files(model)}
    inputs |= {"features": session.field.features, "relevancy": relevancy}
    # Answers are fast to recompute, so the folder only holds those of the last question.
    with replaced_folder(model.evaluation) as new, stage(new, EvalRecord, _recorded(config), inputs):
        answers, report = AnswerFolder(new), Report(config.report_views)
        with Background() as background:
            for view in tqdm(views, desc="views", unit="view", disable=None):
                truth = labels.truths[view.name] if labels else None
                phrases = tuple(dict.fromkeys([*named, *(truth.phrases if truth else ())]))
                answered = answer_view(question, view, tuple(dict.fromkeys([*phrases, *control])), decide, clock)
                shown, verdicts = answered.only(phrases), {}
                if truth is None:
                    rows += shown.rows
                else:
                    judged, verdicts = judge(answered, truth, classes, control)
                    rows += [judged[phrase] for phrase in phrases]
                background.run(_write, answers, report, shown, verdicts, len(classes))
        figures = summary(rows) if labels else {}
        if labels and protocol.figures:
            figures |= protocol.figures(config.labels, {labels.truths[v.name].name: answers.pictures(v.name) for v in views})
        metrics = {
            "scene": session.scene.folder.name,
            "field": model.field,
            "protocol": config.protocol if labels else None,
            "rule": config.rule,
            "reading": config.reading,
            "relevancy": relevancy,
            **figures,
            "by_split": by_split(rows) if labels else {},
            "seconds_per_view": {part: total / len(views) for part, total in clock.seconds.items()},
            "phrases": len(question.phrases),
            "levels": list(session.field.levels),
            "rows": as_json(rows),
        }
        write_json(answers.metrics, metrics)
        made_by = _recorded(config) | {"device": str(session.device), "model": str(model.root), "field": model.field}
        report.write(answers.report, metrics, made_by, list(classes))
    warn_of_plateaus(rows)
    table = summary_table(figures, metrics["by_split"]) if figures else top_table(rows)
    unlabelled = [row for row in rows if row.phrase in named and row.phrase not in labels.phrases] if figures else []
    if unlabelled:
        table += f"\n\nWithout ground truth, in the labelled views:\n{top_table(unlabelled)}"
    drawn = f"the {len(views)} of {of_views} views that show most of it; all with --all_views\n" if len(views) < of_views else ""
    sys.stdout.write(f"{table}\n{drawn}answers: {model.metrics}\nreport:  {model.report}\n")
    return model, figures, session.scene.folder.root.resolve()


def _write(
    folder: AnswerFolder, report: Report, answered: AnsweredView, verdicts: Mapping[str, Verdict], num_classes: int
) -> None:
    photo = load_image(answered.view.camera)
    write_pictures(folder, answered, photo, num_classes)
    report.add(answered, photo, verdicts)


def _views(config: QueryConfig, session: Session, labels: Labels | None) -> list[View]:
    """The selected views, only the labelled ones when there are labels."""
    views = choose_views(session.scene, config.split, config.names)
    if labels is None:
        return views
    labelled = [view for view in views if view.name in labels.truths]
    if not labelled:
        raise no_views(session.scene, config.split, len(views), "labelled ")
    return labelled


def _announce_replacement(config: QueryConfig, model: ModelFolder) -> None:
    """Say which other question's answers this evaluation replaces when it is finished."""
    with suppress(InputError):
        last = read_record(model.evaluation, EvalRecord, "").config
        kept = {name: last.get(name) for name in ("text", "classes", "labels")}
        if kept != {name: plain(value) for name, value in _recorded(config).items() if name in kept}:
            given = [f"--{name} {shlex.join(v if isinstance(v, list) else [str(v)])}" for name, v in kept.items() if v]
            log.warning(
                "%s holds the answers to %s; these ones replace them. To keep both, copy that folder first.",
                model.evaluation,
                " ".join(given) or "nothing",
            )


def _recorded(config: QueryConfig) -> dict[str, Any]:
    """The settings that change answers, paths as text."""
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in _UNRECORDED}
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
