"""What the index page says about each model: read from the stage records and the files beside them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from PIL import Image

from workspace import InputError, ModelFolder, atomic, read_json, read_typed
from workspace.answer_folder import AnswerFolder
from workspace.image_reader import open_picture
from workspace.scene_folder import inside
from workspace.slugs import slug
from workspace.stage_record import RECORD

THUMBNAILS = "thumbnails"
SIDE = 360  # pixels of a thumbnail; about 20 KB as JPEG
PICTURES = 3  # for each model: the highest-scoring phrases
_STAGES = ("autoencoder", "point_cloud", "language")  # a folder with one of these is a model folder
_FIGURES = (("miou", "mIoU"), ("localization_accuracy", "localised"))
T = TypeVar("T")


@dataclass(frozen=True)
class _Report:
    seconds: float = 0.0


@dataclass(frozen=True)
class _Record:
    """What the page shows of a stage record."""

    complete: bool = False
    report: _Report = _Report()


@dataclass(frozen=True)
class _RgbMetrics:
    """What the page shows of the metrics of RGB training."""

    gaussians: int | None = None
    seconds: float = 0.0
    mean: dict[str, dict[str, float]] = field(default_factory=dict)
    """PSNR and SSIM by split."""


@dataclass(frozen=True)
class _Row:
    image: str
    phrase: str
    score: float


@dataclass(frozen=True)
class _Answers:
    """What the page shows of the metrics of an evaluation."""

    rows: list[_Row]
    miou: float | None = None
    localization_accuracy: float | None = None


@dataclass(frozen=True)
class Picture:
    """A thumbnail, as a path relative to the page, of one answer."""

    path: str
    phrase: str


@dataclass(frozen=True)
class FieldEntry:
    """One language field of a model; paths are relative to the page."""

    name: str
    state: str
    figures: Mapping[str, float]
    """Shares in [0, 1] by title; empty without ground truth."""
    report: str | None = None


@dataclass(frozen=True)
class Entry:
    """One model folder; paths are relative to the page."""

    name: str
    state: str
    psnr: float | None
    """Mean in dB over the held-out views, or over training views where none was held out."""
    gaussians: int | None
    seconds: float
    """Wall time of its jobs, or where no workflow ran them, of its trainings."""
    fields: tuple[FieldEntry, ...]
    pictures: tuple[Picture, ...]
    links: tuple[tuple[str, str], ...]
    """Title and path of further results."""
    problem: str | None = None
    """What could not be read."""


@dataclass(frozen=True)
class Unfinished:
    """A job that failed: its name, the reason, and its log relative to the page."""

    job: str
    reason: str
    log: str


def find_models(output: Path) -> Iterator[Path]:
    """Model folders below `output`, sorted by path; links to folders are not followed, hidden folders are skipped."""
    for folder, names, _ in os.walk(output, followlinks=False):
        if any((Path(folder) / stage).is_dir() for stage in _STAGES):
            names.clear()
            yield Path(folder)
        else:
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in (THUMBNAILS, "workflow"))


def read_entry(root: Path, output: Path) -> Entry:
    """Everything about one model; a damaged file is named and does not hide the rest."""
    problems: list[str] = []

    def read(path: Path, kind: type[T]) -> T | None:
        try:
            return read_typed(path, kind, "Run its stage again.") if path.is_file() else None
        except (InputError, OSError) as error:
            problems.append(str(error))
            return None

    model = ModelFolder(root)
    metrics = read(model.rgb_metrics, _RgbMetrics) or _RgbMetrics()
    quality = metrics.mean.get("test") or metrics.mean.get("train") or {}
    names = sorted({*model.fields("autoencoder"), *model.fields("language"), *model.fields("eval")})
    fields, pictures, trained = [], [], metrics.seconds
    for name in names:
        of_field = ModelFolder(root, name)
        language = read(of_field.language / RECORD, _Record) or _Record()
        answers = read(of_field.metrics, _Answers)
        trained += language.report.seconds
        figures = {title: value for key, title in _FIGURES if (value := getattr(answers, key, None)) is not None}
        state = "answered" if answers else "trained" if language.complete else "in progress"
        report = _relative(of_field.report, output)
        fields.append(FieldEntry(name, state, figures, report))
        if answers and not pictures:
            pictures = _pictures(of_field, answers.rows, root, output, problems)
    gaussians = read(model.point_clouds / RECORD, _Record) or _Record()
    finished = gaussians.complete and bool(fields) and all(entry.state != "in progress" for entry in fields)
    objects = model.objects_report if model.objects_report.is_file() else model.located
    links = [("objects", objects), ("3D selection", model.selection_evaluation), ("scan", model.scan_evaluation)]
    links += [("renders", root / "renders")]
    return Entry(
        root.relative_to(output).as_posix() if root != output else root.resolve().name,
        "finished" if finished else "in progress",
        quality.get("psnr"),
        metrics.gaussians,
        _job_seconds(root, output) or trained,
        tuple(fields),
        tuple(pictures),
        tuple((title, path) for title, place in links if (path := _relative(place, output)) is not None),
        problems[0] if problems else None,
    )


def read_unfinished(output: Path) -> list[Unfinished]:
    """Failed jobs, as the workflow wrote them at the end of its run; none where no workflow ran."""
    path = output / "workflow" / "failures.json"
    try:
        rows = read_json(path) if path.is_file() else []
        return [Unfinished(str(row["job"]), str(row["reason"]), str(row["log"])) for row in rows]
    except (InputError, KeyError, TypeError):
        return [Unfinished("workflow/failures.json", "cannot be read; run the workflow again", "workflow/failures.json")]


def _pictures(model: ModelFolder, rows: Sequence[_Row], root: Path, output: Path, problems: list[str]) -> list[Picture]:
    """Thumbnails of the best view of each of the highest-scoring phrases; made again when the answer is newer."""
    best: dict[str, _Row] = {}
    for row in sorted(rows, key=lambda row: -row.score):
        best.setdefault(row.phrase, row)
    pictures = []
    for number, (phrase, row) in enumerate(list(best.items())[:PICTURES]):
        name = root.relative_to(output).as_posix().replace("/", "__")
        thumbnail = output / THUMBNAILS / f"{name}.{number}.jpg"
        try:
            source = AnswerFolder(model.evaluation).picture(row.image, slug(phrase))
            if not source.is_file():
                continue
            if not thumbnail.exists() or thumbnail.stat().st_mtime < source.stat().st_mtime:
                _shrink(source, thumbnail)
            pictures.append(Picture(thumbnail.relative_to(output).as_posix(), phrase))
        except (InputError, OSError) as error:
            problems.append(str(error))
    return pictures


def _shrink(source: Path, thumbnail: Path) -> None:
    with open_picture(source) as picture:
        small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    with atomic(thumbnail) as temporary:
        small.save(temporary, format="JPEG", quality=82)


def _job_seconds(root: Path, output: Path) -> float:
    """Wall seconds of a model's jobs and of its scene's, from the files that Snakemake measures them into."""
    jobs = inside(output / "workflow", root.relative_to(output).as_posix()) if root != output else None
    if jobs is None or not jobs.is_dir():
        return 0.0
    return sum(_benchmarked(path) for folder in (jobs, jobs.parent) for path in folder.glob("*.tsv"))


def _benchmarked(path: Path) -> float:
    try:
        heading, row, *_ = path.read_text(encoding="utf-8").splitlines()
        return float(dict(zip(heading.split("\t"), row.split("\t"), strict=True))["s"])
    except (ValueError, KeyError, OSError):
        return 0.0


def _relative(path: Path, output: Path) -> str | None:
    return path.relative_to(output).as_posix() if path.exists() else None


def totals(entries: Sequence[Entry]) -> tuple[int, float]:
    """Finished models, and the hours of all."""
    return sum(entry.state == "finished" for entry in entries), sum(entry.seconds for entry in entries) / 3600
