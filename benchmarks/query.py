"""Time of text queries: both kinds of field and three readings against a direct implementation of the published evaluator.

    python -m benchmarks.query [--width 640 --height 480 --gaussians 100000]

Gaussians lie on the walls of a room, the embeddings have the width of CLIP's. Before timing, ours
and the published loops must give the same levels and masks.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F

from autoencoder.codebook import Codebook, principal_directions
from autoencoder.mixtures import Mixtures
from autoencoder.network import Autoencoder, published_widths
from benchmarks import published_query
from benchmarks.generated_room import camera, walls
from benchmarks.timing import median_seconds
from gaussian_renderer.trained_model import TrainedModel
from query.answer_rule import answer
from query.code_field import CodeField
from query.field import LanguageField, Negatives
from query.mixture_field import MixtureField
from query.question import Question, Reading
from query.tables import table
from scene.camera import Camera
from workspace import ModelFolder, command_line
from workspace.record_types import FeatureSettings, RgbSettings

LEVELS, WIDTH = ("s", "m", "l"), 512
CODES, PER_GAUSSIAN, COORDINATES = 256, 2, 32  # the defaults of a codebook
READINGS: tuple[Reading, ...] = ("protocol", "fast", "gaussian")


@dataclass(frozen=True)
class QueryBenchmarkConfig:
    """What to measure."""

    width: int = 640
    """Width of the view, pixels."""
    height: int = 480
    """Height of the view, pixels."""
    gaussians: int = 100_000
    """Gaussians of the scene."""
    phrases: tuple[int, ...] = (1, 8)
    """How many phrases are asked at once."""
    readings: tuple[Reading, ...] = READINGS
    """How views are read."""
    repeats: int = 5
    """Timings of each; the median is printed."""
    published: bool = True
    """Also run the published loops, which take seconds per phrase."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""


def main(config: QueryBenchmarkConfig) -> None:
    """Time text queries."""
    device, generator = torch.device(config.device), torch.Generator().manual_seed(0)
    trained, shot = _scene(config, device, generator)
    optimised, lifted = _code_field(trained, generator), _mixture_field(trained, generator)
    rows = []
    for count in config.phrases:
        question = _questions(optimised, count, "protocol", generator)[0]
        if config.published:
            view = optimised.view(shot)
            published_query.check(question, view)
            rows.append([f"published loops, {count}", "-", "-", *_published(question, view.codes)])
        for name, field in (("autoencoder", optimised), ("lifted", lifted)):
            for reading in config.readings:
                seconds = _seconds(field, shot, _questions(field, count, reading, generator), config.repeats, device)
                rows.append([f"{name} {reading}, {count}", *(f"{1000 * value:.1f}" for value in seconds)])
    print(f"{shot.width}x{shot.height}, {config.gaussians} Gaussians, 3 levels, {device}, {torch.get_num_threads()} threads; ms")
    print(table(["field, reading, phrases", "prepared view", "first phrases", "next phrases", "answers"], rows))
    for name, field in (("autoencoder", optimised), ("lifted", lifted)):
        question = _questions(field, 1, "gaussian", generator)[0]
        question.negatives.rival  # noqa: B018 - fills the cache, as earlier questions would
        seconds = median_seconds(partial(_relevancy, question), config.repeats, device)
        print(f"{name}: relevancy of every Gaussian to one phrase, {1000 * seconds:.1f} ms")


def _scene(config: QueryBenchmarkConfig, device: torch.device, generator: torch.Generator) -> tuple[TrainedModel, Camera]:
    gaussians = walls(config.gaussians, generator).to(device)
    trained = TrainedModel(ModelFolder(Path()), gaussians, 0, RgbSettings("", "", 1, False, False), {})
    return trained, camera("view", 0.3, config.width, config.height)


def _code_field(trained: TrainedModel, generator: torch.Generator) -> CodeField:
    device, count = trained.gaussians.means.device, len(trained.gaussians)
    torch.manual_seed(0)
    compressor = Autoencoder(*published_widths(WIDTH, 3)).eval().requires_grad_(False).to(device)
    codes = F.normalize(torch.randn(count, 3, 3, generator=generator), dim=-1).flatten(1).to(device)
    return CodeField(trained, LEVELS, FeatureSettings("mini"), codes, compressor)


def _mixture_field(trained: TrainedModel, generator: torch.Generator) -> MixtureField:
    """Codes with cosines around 0.6, as CLIP's of unrelated segments."""
    device, count = trained.gaussians.means.device, len(trained.gaussians)
    common = F.normalize(torch.randn(WIDTH, generator=generator), dim=0)
    tables = {
        level: (0.95 * F.normalize(common + 0.8 * F.normalize(torch.randn(CODES, WIDTH, generator=generator), dim=1), dim=1))
        for level in LEVELS
    }
    tables = {level: codes.to(device) for level, codes in tables.items()}
    codebook = Codebook(tables, principal_directions(list(tables.values()), COORDINATES)).to(device)
    mixtures = []
    for level in LEVELS:
        indices = torch.randint(0, CODES, (count, PER_GAUSSIAN), generator=generator).to(device)
        weights = torch.rand(count, PER_GAUSSIAN, generator=generator).sort(1, descending=True).values.to(device)
        weights = weights / weights.sum(1, keepdim=True)
        mixed = Mixtures(indices, weights, torch.ones(count, device=device), torch.ones(count, device=device))
        mixtures.append(Mixtures(indices, weights, mixed.blend(codebook.centroids(level)).norm(dim=1), mixed.coverage))
    return MixtureField(trained, LEVELS, FeatureSettings("mini"), tuple(mixtures), codebook)


def _questions(field: LanguageField, count: int, reading: Reading, generator: torch.Generator) -> tuple[Question, Question]:
    """Two questions with different phrases and the same negatives."""
    device = field.trained.gaussians.means.device
    words = F.normalize(torch.randn(2 * count + 4, WIDTH, generator=generator), dim=1).to(device)
    negatives, names = Negatives(field, words[2 * count :]), tuple(map(str, range(count)))
    return Question(field, names, words[:count], negatives, reading), Question(
        field, names, words[count : 2 * count], negatives, reading
    )


def _seconds(
    field: LanguageField, camera: Camera, questions: tuple[Question, Question], repeats: int, device: torch.device
) -> Iterator[float]:
    """Seconds to prepare a view, for the relevancy of its first phrases and of the next ones, and for their answers."""
    first, following = questions
    views = []

    def prepare() -> None:
        views[:] = [field.view(camera)]
        views[0].prepare(first.reading == "protocol")

    yield median_seconds(prepare, repeats, device)
    # A queried view caches the negatives; a new one is prepared first, which is not timed here.
    yield median_seconds(lambda: _fresh(first).relevancy(views[0]), repeats, device, before=prepare)
    yield median_seconds(lambda: _fresh(following).relevancy(views[0]), repeats, device)
    maps = following.relevancy(views[0])
    yield median_seconds(lambda: [answer(maps[:, phrase]) for phrase in range(len(following.phrases))], repeats, device)


def _fresh(question: Question) -> Question:
    """The same question without its cached results per Gaussian."""
    return Question(question.field, question.phrases, question.embeddings, question.negatives, question.reading)


def _relevancy(question: Question) -> torch.Tensor:
    return _fresh(question).gaussian_relevancy


def _published(question: Question, codes: torch.Tensor) -> tuple[str, str]:
    """Milliseconds of the published loops for the relevancy and for the answers."""
    started = time.perf_counter()
    relevant = published_query.relevancy_maps(codes, question.field.compressor, question)
    middle = time.perf_counter()
    for maps in relevant:
        published_query.answer_maps(maps)
    return f"{1000 * (middle - started):.1f}", f"{1000 * (time.perf_counter() - middle):.1f}"


if __name__ == "__main__":
    command_line.run(main, QueryBenchmarkConfig)
