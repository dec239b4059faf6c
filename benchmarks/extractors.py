"""Segments against dense patch features, and codes of several widths, on generated scenes with ground truth.

    python -m benchmarks.extractors [--seeds 0 1 2] [--folder output/benchmarks/extractors]

Every row runs the user's commands; only features, compressor and code width differ. Seconds of the
reduction are those of the whole command. A stopped run continues.
"""

import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from features.registry import open_store
from query.tables import table
from workspace import ModelFolder, SceneFolder, command_line, read_json, write_json
from workspace.record_types import CompressorRecord, LanguageRecord
from workspace.stage_record import require

ROWS = {  # name: features and how they are reduced
    "mini, autoencoder 3": ("mini", "--method autoencoder --code_width 3"),
    "mini_dense, autoencoder 3": ("mini_dense", "--method autoencoder --code_width 3"),
    "mini_dense, PCA 3": ("mini_dense", "--method pca --code_width 3"),
    "mini_dense, PCA 16": ("mini_dense", "--method pca --code_width 16"),
    "mini_dense, PCA 64": ("mini_dense", "--method pca --code_width 64"),
}


@dataclass(frozen=True)
class ExtractorsConfig:
    """Which worlds."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the generated scenes."""
    folder: Path = Path("output/benchmarks/extractors")
    """Where scenes and models are kept."""


def command(line: str) -> float:
    """Run a command of the pipeline and return its seconds."""
    print(f"$ python {line}", flush=True)
    start = time.monotonic()
    subprocess.run([sys.executable, *shlex.split(line)], cwd=Path(__file__).parents[1], check=True)
    return time.monotonic() - start


def measure(world: Path, seed: int) -> dict[str, dict[str, float]]:
    """Figures of every row on one world."""
    scene, rgb = SceneFolder(world / "scene"), ModelFolder(world / "rgb")
    command(f"-m toy_world -s {scene.root} --seed {seed}")
    command(f"preprocess.py -s {scene.root} --features mini")
    command(f"preprocess.py -s {scene.root} --features mini_dense")
    command(f"train.py -s {scene.root} -m {rgb.root} --eval --preset fast")
    return {name: _row(scene, rgb, world / name.replace(", ", "_").replace(" ", "_"), *ROWS[name]) for name in ROWS}


def _row(scene: SceneFolder, rgb: ModelFolder, root: Path, features: str, reduction: str) -> dict[str, float]:
    kept = root / "extractors.json"
    if not kept.exists():
        shutil.copytree(rgb.root / "point_cloud", root / "point_cloud", dirs_exist_ok=True)
        reduce = command(f"train_autoencoder.py -s {scene.root} -m {root} --features {features} {reduction} --overwrite")
        command(f"train.py -s {scene.root} -m {root} --include_feature --preset fast --overwrite")
        command(f"eval_query.py -s {scene.root} -m {root} --labels {scene.labels} --split test")
        model = ModelFolder(root).reading(None)
        figures = read_json(model.metrics)
        folder = open_store(scene, features).folder
        images = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        write_json(
            kept,
            {
                "preprocess": fmean(sum(image["seconds"].values()) for image in images),
                "reduce": reduce,
                "cosine": require(model.autoencoder, CompressorRecord, "").report.validation.mean,
                "field": require(model.language, LanguageRecord, "").report.seconds,
                **{name: figures[name] for name in ("localization_accuracy", "miou")},
            },
        )
    return read_json(kept)


def main(config: ExtractorsConfig) -> None:
    """Measure all rows on all worlds and print the table."""
    worlds = [measure(config.folder / f"world_{seed}", seed) for seed in config.seeds]
    heading = ["features, codes", "s per image", "reduce s", "held-out cosine", "field s", "localisation", "mIoU"]
    rows = []
    for name in ROWS:
        found = {key: [world[name][key] for world in worlds] for key in worlds[0][name]}
        mean = {key: fmean(values) for key, values in found.items()}
        each = {key: " ".join(f"{100 * value:.0f}" for value in found[key]) for key in ("localization_accuracy", "miou")}
        cells = [f"{mean['preprocess']:.2f}", f"{mean['reduce']:.0f}", f"{mean['cosine']:.3f}", f"{mean['field']:.0f}"]
        cells += [f"{100 * mean[key]:.1f} ({each[key]})" for key in ("localization_accuracy", "miou")]
        rows.append([name, *cells])
    print(f"\nmeans over worlds {', '.join(map(str, config.seeds))} (each world's figure in brackets, %)\n")
    print(table(heading, rows))


if __name__ == "__main__":
    command_line.run(main, ExtractorsConfig)
