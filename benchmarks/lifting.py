"""Time and memory of lifting a codebook over many large views, against iterations of the optimised field on the same views.

    python -m benchmarks.lifting [--gaussians 1000000 --views 200 --width 1440 --height 1080]

The scene is generated: Gaussians on the walls of a room, cameras in its middle, and segment maps of a few hundred segments in the
files of `language_features/`. The timed part reads these files, projects every view, sums its weights and writes the mixtures.
"""

import os
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from autoencoder.codebook import Codebook, principal_directions
from benchmarks.generated_room import camera, walls
from benchmarks.timing import seconds_of
from features.segment_store import LEVELS, Segments, SegmentStore
from gaussian_renderer import prepare_view
from gaussian_renderer.trained_model import TrainedModel
from query.tables import table
from scene.dataset import Scene
from training.language_config import LanguageRun, LanguageTrainConfig
from training.language_trainer import PRESETS
from training.lifting import lift_mixtures, lifting_settings
from workspace import ModelFolder, SceneFolder, command_line, save_array
from workspace.record_types import FeatureSettings, RgbSettings

SEGMENTS = (200, 150, 60, 25)  # segments per view at each of LEVELS
EMBEDDING_WIDTH = 512
DISTINCT = 8  # views with distinct maps; the others are links to them
TIMED = 5  # timed iterations of the optimised field


@dataclass(frozen=True)
class LiftingBenchmarkConfig:
    """What to measure."""

    gaussians: int = 1_000_000
    """Gaussians of the generated scene."""
    views: int = 200
    """Views of it."""
    width: int = 1440
    """Pixels."""
    height: int = 1080
    """Pixels."""
    codebook_size: int = 256
    """Codes at each level."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""


def main(config: LiftingBenchmarkConfig) -> None:
    """Time lifting."""
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        run = _room(config, Path(folder), generator)
        language = LanguageTrainConfig(device=config.device)
        settings = lifting_settings(language, run.compressor, run.levels)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        report = lift_mixtures(language, run, settings)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        iteration = _iteration(run)
    lifting = max(report.seconds, 0.05)  # rounded to a tenth of a second
    rows = [["lifting", f"{lifting:.1f}", "1x", f"{(peak - before) / 1e6:.2f}"]]
    for preset, (iterations, _) in PRESETS.items():
        seconds = iteration * iterations
        rows.append([f"optimised field, {preset}: {iterations} iterations", f"{seconds:.0f}", f"{seconds / lifting:.1f}x", "-"])
    views = f"{config.views} views of {config.width}x{config.height}"
    print(f"{config.gaussians:,} Gaussians, {views}, {torch.get_num_threads()} threads")
    print(table(["", "seconds", "ratio", "GB above the scene"], rows))
    print(f"(an iteration of 9 channels on a prepared view whose weights are kept takes {1e3 * iteration:.0f} ms)")


def _room(config: LiftingBenchmarkConfig, folder: Path, generator: torch.Generator) -> LanguageRun:
    device = torch.device(config.device)
    scene, model = SceneFolder(folder / "scene"), ModelFolder(folder / "model")
    names = [f"view_{index:04d}" for index in range(config.views)]
    cameras = [camera(name, 2 * np.pi * index / config.views, config.width, config.height) for index, name in enumerate(names)]
    tables = {
        level: F.normalize(torch.randn(config.codebook_size, EMBEDDING_WIDTH, generator=generator), dim=1) for level in LEVELS
    }
    codebook = Codebook(tables, principal_directions(list(tables.values()), 32)).to(device)
    store = SegmentStore(scene, FeatureSettings("mini"))
    for index, name in enumerate(names):
        if index < DISTINCT:
            store.write(name, _segments(config, generator))
            codes = torch.randint(config.codebook_size, (sum(SEGMENTS),), generator=generator)
            save_array(model.codes(name), codes.numpy().astype(np.uint16))
        else:
            for file in (scene.segment_embeddings, scene.segment_maps, model.codes):
                os.link(file(names[index % DISTINCT]), file(name))
    trained = TrainedModel(
        model, walls(config.gaussians, generator).to(device), 0, RgbSettings(str(scene.root), "images", -1, False, False), {}
    )
    place = Scene(scene, cameras, [], np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), 1.0, {})
    return LanguageRun(trained, place, store, codebook, LEVELS[1:], device)


def _segments(config: LiftingBenchmarkConfig, generator: torch.Generator) -> Segments:
    """Maps whose segments are the pixels nearest to random sites."""
    rows, columns = torch.meshgrid(torch.arange(0, config.height, 4), torch.arange(0, config.width, 4), indexing="ij")
    pixels = torch.stack([rows, columns], -1).reshape(-1, 2).float()
    maps, start = [], 0
    for count in SEGMENTS:
        sites = torch.rand(count, 2, generator=generator) * torch.tensor([config.height, config.width])
        nearest = torch.cdist(pixels, sites).argmin(1).reshape(rows.shape) + start
        maps.append(nearest.repeat_interleave(4, 0).repeat_interleave(4, 1)[: config.height, : config.width])
        start += count
    embeddings = F.normalize(torch.randn(start, EMBEDDING_WIDTH, generator=generator), dim=1)
    return Segments(embeddings.numpy(), torch.stack(maps).numpy().astype(np.int32))


def _iteration(run: LanguageRun) -> float:
    """Seconds of a forward and a backward pass of three levels of 3-D codes, the minimum of several."""
    codes = torch.zeros(len(run.trained.gaussians), 9, device=run.device, requires_grad=True)
    view = prepare_view(run.scene.train[0], run.trained.gaussians)

    def iteration() -> None:
        image = view.rasterize(codes).image
        image.backward(torch.ones_like(image))

    return min([seconds_of(iteration, run.device) for _ in range(2 + TIMED)][2:])


if __name__ == "__main__":
    command_line.run(main, LiftingBenchmarkConfig)
