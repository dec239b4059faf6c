"""Trains the bundled encoder on toy worlds and reports its retrieval on held-out worlds and held-out pairs of colour and kind.

    python -m bundled.train_encoder

Writes `assets/mini*`. The worlds it renders are kept in `output/mini` and reused.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bundled.captions import Description
from bundled.crops import Pieces, join, world_pieces
from bundled.encoder import save, train, write_architecture
from bundled.report import report
from features import mini
from workspace import command_line, load_array, read_json, save_array, write_json

ARRAYS = ("crops", "crop_entire", "windows", "window_parts")
FIRST_SEED, FIRST_HELD_OUT = 10_000, 90_000  # worlds of demos and tests have small seeds
UNSEEN = frozenset(  # colour and kind that never occur together in training
    {("red", "mug"), ("blue", "ball"), ("green", "cube"), ("yellow", "duck"), ("purple", "vase"), ("orange", "gift"),
     ("pink", "donut"), ("turquoise", "teapot"), ("green", "book"), ("white", "house"), ("red", "bottle"), ("blue", "lamp")}
)  # fmt: skip


@dataclass(frozen=True)
class TrainMiniConfig:
    """How much is drawn and how long is trained."""

    worlds: int = 200
    """Worlds to train on."""
    views: int = 4
    """Views of each."""
    steps: int = 5000
    """Batches of 160 pieces; one takes 0.6 s on one core."""
    start: Path | None = None
    """Weights to continue from, for example `assets/mini.safetensors`; random ones when not given."""
    held_out: int = 12
    """Worlds to report on."""
    processes: int = 2
    """Worlds drawn at a time."""
    cache: Path = Path("output/mini")
    """Where drawn worlds are kept."""


def draw(seed: int, views: int, cache: Path) -> Pieces:
    """Pieces of one world, from the cache when present."""
    folder = cache / f"{seed}_{views}"
    if not (folder / "descriptions.json").exists():
        pieces = world_pieces(seed, views)
        for name in ARRAYS:
            save_array(folder / f"{name}.npy", getattr(pieces, name))
        patches = [[asdict(entry) for entry in pair] for pair in pieces.patch_descriptions]
        descriptions = {"crops": [asdict(entry) for entry in pieces.crop_descriptions], "patches": patches}
        write_json(folder / "descriptions.json", descriptions)
    descriptions = read_json(folder / "descriptions.json")
    crops, entire, windows, parts = (load_array(folder / f"{name}.npy") for name in ARRAYS)
    crop_descriptions = [Description(**entry) for entry in descriptions["crops"]]
    patch_descriptions = [(Description(**part), Description(**whole)) for part, whole in descriptions["patches"]]
    return Pieces(crops, crop_descriptions, entire, np.full(len(crops), seed), windows, parts, patch_descriptions)


def unseen(description: Description) -> bool:
    """Whether the description, or the whole it is a part of, pairs a colour and a kind excluded from training."""
    words = {description.color} if description.part is None else set((description.whole_adjectives or "").split())
    return any((word, description.kind) in UNSEEN for word in words)


def without_unseen(pieces: Pieces) -> Pieces:
    """The set without the descriptions excluded from training."""
    keep = np.array([not unseen(description) for description in pieces.crop_descriptions])
    hidden = np.array([unseen(whole) for _, whole in pieces.patch_descriptions] + [False])
    parts = np.where(hidden[pieces.window_parts], -1, pieces.window_parts)
    descriptions = [entry for entry, kept in zip(pieces.crop_descriptions, keep, strict=True) if kept]
    entire, worlds = pieces.crop_entire[keep], pieces.crop_worlds[keep]
    return Pieces(pieces.crops[keep], descriptions, entire, worlds, pieces.windows, parts, pieces.patch_descriptions)


def train_mini(config: TrainMiniConfig) -> None:
    """Draw toy worlds, train the bundled encoder on them, and report on unseen worlds."""
    seeds = [*range(FIRST_SEED, FIRST_SEED + config.worlds), *range(FIRST_HELD_OUT, FIRST_HELD_OUT + config.held_out)]
    with ProcessPoolExecutor(config.processes) as pool:
        jobs = [pool.submit(draw, seed, config.views, config.cache) for seed in seeds]
        drawn = [job.result() for job in tqdm(jobs, desc="worlds")]
    if config.start is None:
        write_architecture()
    model = train(without_unseen(join(drawn[: config.worlds])), config.steps, config.start)
    save(model)
    with torch.inference_mode():
        figures = report(model, drawn[config.worlds :], unseen)
    write_json(mini.REPORT, {"steps": config.steps, "worlds": config.worlds, "views": config.views, **figures})


if __name__ == "__main__":
    command_line.run(train_mini, TrainMiniConfig)
