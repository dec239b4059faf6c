"""Time of one text query, with and without its render, against the published evaluator written out directly.

    python -m benchmarks.query [-m <model>] [--width 640 --height 480]

Without a model it asks a random scene. Nothing is timed before both ways have given the same levels and masks.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import tyro

from autoencoder.network import Autoencoder, published_widths
from gaussian_renderer.trained_model import TrainedModel
from query.answer import answer
from query.code_field import CodeField
from query.field import FieldView, Negatives
from query.loading import load_field
from query.question import Question
from query.tables import table
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from workspace import ModelFolder, command_line
from workspace.records import FeatureSettings, RgbSettings


@dataclass(frozen=True)
class QueryBenchmarkConfig:
    """What to measure."""

    model_path: Annotated[Path | None, tyro.conf.arg(aliases=["-m"])] = None
    """Trained model to measure instead of a random scene; its first view is asked."""
    width: int = 640
    """Width of the random scene's view, pixels."""
    height: int = 480
    """Height of the random scene's view, pixels."""
    gaussians: int = 100_000
    """Gaussians of the random scene."""
    phrases: tuple[int, ...] = (1, 8)
    """How many phrases are asked at once."""
    repeats: int = 5
    """Timings of each; the median is printed."""
    published: bool = True
    """Also run the published loops, which take seconds per phrase."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""


def main(config: QueryBenchmarkConfig) -> None:
    """Time text queries."""
    device = torch.device(config.device)
    generator = torch.Generator().manual_seed(0)
    field, camera = _trained(config, device) if config.model_path else _random(config, device, generator)
    rows = []
    for count in config.phrases:
        words = torch.nn.functional.normalize(torch.randn(count + 4, field.feature_width, generator=generator), dim=1).to(device)
        question = Question(field, tuple(map(str, range(count))), words[:count], Negatives(field, words[count:]))
        view = field.view(camera)
        if config.published:
            _check(question, view)
        seconds = _ours(camera, question, config.repeats, device)
        without = seconds["relevancy"] + seconds["answer"]
        cells = [seconds["render"], seconds["relevancy"], seconds["answer"], without, without + seconds["render"]]
        rows.append([f"ours, {count} phrases", *(f"{1000 * value:.0f}" for value in cells)])
        if config.published:
            started = time.perf_counter()
            decoded = _published_decode(view.codes, field.compressor)
            relevant = [_published_relevancy(decoded, question, i) for i in range(count)]
            middle = time.perf_counter()
            for maps in relevant:
                _published_answer(maps)
            ended = time.perf_counter()
            cells = [middle - started, ended - middle, ended - started]
            rows.append([f"published loops, {count} phrases", "-", *(f"{1000 * value:.0f}" for value in cells), "-"])
    size = f"{camera.width}x{camera.height}, {len(field.trained.gaussians)} Gaussians"
    print(f"{size}, 3 levels, {device}, {torch.get_num_threads()} threads; milliseconds per view")
    print(table(["", "render", "relevancy", "answer", "without render", "with render"], rows))


def _random(config: QueryBenchmarkConfig, device: torch.device, generator: torch.Generator):
    count = config.gaussians
    points = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([4.0, 3.0, 4.0])
    gaussians = GaussianModel.from_points(points.numpy(), np.zeros((count, 3), np.uint8))
    world_to_camera = np.eye(4)
    world_to_camera[2, 3] = 3.5
    focal = 0.9 * config.width
    camera = Camera("view", world_to_camera, focal, focal, config.width / 2, config.height / 2, config.width, config.height)
    torch.manual_seed(0)
    compressor = Autoencoder(*published_widths(512, 3)).eval().requires_grad_(False).to(device)
    gaussians = gaussians.to(device)
    codes = torch.nn.functional.normalize(torch.randn(count, 3, 3, generator=generator), dim=-1).flatten(1).to(device)

    trained = TrainedModel(ModelFolder(Path()), gaussians, 0, RgbSettings("", "", 1, False, False), {})
    return CodeField(trained, ("s", "m", "l"), FeatureSettings("mini"), codes, compressor), camera


def _trained(config: QueryBenchmarkConfig, device: torch.device) -> tuple[CodeField, Camera]:
    field = load_field(ModelFolder(config.model_path).reading(None), device)
    return field, field.trained.scene().train[0]


def _ours(camera: Camera, question: Question, repeats: int, device: torch.device) -> dict[str, float]:
    view = question.field.view(camera)
    maps = question.relevancy(view)

    def answers() -> None:
        for phrase in range(len(question.phrases)):
            answer(maps[:, phrase])

    parts = {
        "render": lambda: question.field.view(camera).codes,
        "relevancy": lambda: question.relevancy(view),
        "answer": answers,
    }
    return {name: _median(part, repeats, device) for name, part in parts.items()}


def _median(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def _published_decode(codes: torch.Tensor, compressor: Autoencoder) -> torch.Tensor:
    """Every pixel of every level as an embedding, all held at once."""
    levels, channels, height, width = codes.shape
    with torch.inference_mode():
        return compressor.decode(codes.movedim(1, -1).reshape(-1, channels)).reshape(levels, height, width, -1)


def _published_relevancy(decoded: torch.Tensor, question: Question, phrase: int) -> np.ndarray:
    """One phrase, one level at a time: the softmax with each negative, the smallest kept."""
    maps = []
    for level in decoded:
        pixels = level.reshape(-1, level.shape[-1])
        similarity = pixels @ torch.cat([question.embeddings[phrase : phrase + 1], question.negatives.embeddings]).T
        pairs = [torch.softmax(10 * similarity[:, [0, k]], -1)[:, 0] for k in range(1, similarity.shape[1])]
        maps.append(torch.stack(pairs).min(0).values.reshape(level.shape[:2]))
    return torch.stack(maps).cpu().numpy()


def _published_answer(maps: np.ndarray) -> tuple[int, np.ndarray, int, tuple[int, int]]:
    """Level, mask, level of the point, point (x, y): every level masked, by loops over the pixels."""
    kernel = np.full((30, 30), 1 / 900)
    means = [cv2.filter2D(level, -1, kernel) for level in maps]
    masks, peaks = [], []
    for level, mean in zip(maps, means, strict=True):
        smoothed = 0.5 * (level + mean)
        shifted = smoothed - smoothed.min()
        stretched = np.clip(2 * (shifted / (shifted.max() + 1e-9)) - 1, 0, 1)
        masks.append(_published_majority((stretched > 0.4).astype(np.uint8)))
        peaks.append(smoothed.max())
    level = int(np.argmax(peaks))
    point_level = int(np.argmax([mean.max() for mean in means]))
    y, x = np.unravel_index(means[point_level].argmax(), means[point_level].shape)
    return level, masks[level].astype(bool), point_level, (int(x), int(y))


def _published_majority(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    smooth = mask.copy()
    for i in range(height):
        for j in range(width):
            window = mask[max(0, i - 3) : min(i + 4, height - 1), max(0, j - 3) : min(j + 4, width - 1)]
            smooth[i, j] = np.argmax(np.bincount(window.reshape(-1)))
    return smooth


def _check(question: Question, view: FieldView) -> None:
    """Both ways answer the first phrase alike.

    float32 rounding may move pixels that lie on the threshold: the relevancy of a random scene spans little, and
    stretching it stretches the rounding.
    """
    level, mask, point_level, _ = _published_answer(
        _published_relevancy(_published_decode(view.codes, question.field.compressor), question, 0)
    )
    found = answer(question.relevancy(view)[:, 0])
    differing = int((found.mask.cpu().numpy() != mask).sum())
    if (found.level, found.point_level) != (level, point_level) or differing > 1e-3 * mask.size:
        raise SystemExit(
            f"Not the published answer: levels {found.level}, {found.point_level} against {level}, {point_level}; "
            f"{differing} of {mask.size} mask pixels differ."
        )


if __name__ == "__main__":
    command_line.run(main, QueryBenchmarkConfig)
