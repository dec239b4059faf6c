"""Seconds, memory and bytes of every stage on generated scenes of several sizes, for docs/scaling.md.

    python -m benchmarks.stage_costs --sizes 320x240x36 640x480x72 [--device cuda] [-o output/stage_costs]

A size is width x height x photographs. Every stage runs as its command, alone. A row is printed and appended to costs.jsonl when
its stage ends. The bundled extractor stands in for SAM and CLIP, whose seconds per photograph `preprocess.py` logs itself.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scene.ply import read_vertices
from toy_world.generate import write_toy_world
from workspace import InputError, ModelFolder, command_line
from workspace.device import Device
from workspace.processes import num_cores

ROOT = Path(__file__).resolve().parents[1]
PHRASES = ("red mug", "book", "plate", "lamp")


@dataclass(frozen=True)
class StageCostsConfig:
    """What to run."""

    sizes: tuple[str, ...] = ("320x240x36", "640x480x72")
    """Width x height x photographs of each scene."""
    preset: str = "fast"
    """Of preprocessing and training."""
    device: Device = "auto"
    """Where every stage runs."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output/stage_costs")
    """Folder for scenes, models and costs.jsonl; models there are not trained again, so it should be new."""


def stage_costs(config: StageCostsConfig) -> None:
    """Run every stage of a scene of each size and print what it took."""
    sizes = [_parsed(size) for size in config.sizes]
    config.output_path.mkdir(parents=True, exist_ok=True)
    for width, height, photographs in sizes:
        scene = config.output_path / f"scene_{width}x{height}x{photographs}"
        model = ModelFolder(config.output_path / f"model_{width}x{height}x{photographs}")
        write_toy_world(scene, 0, width, height, photographs)
        for name, command, folder in _stages(config, scene, model):
            before = _bytes(folder)
            row = _measured([*command, "--device", config.device])
            size = {"size": f"{width}x{height}x{photographs}", "stage": name}
            row = size | row | {"bytes": _bytes(folder) - before, "gaussians": _gaussians(model), "cores": num_cores()}
            with (config.output_path / "costs.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            sys.stdout.write("{size} {stage:18} {seconds:8.1f} s {memory_mb:6.0f} MB {bytes:11d} bytes\n".format(**row))
            sys.stdout.flush()


def _stages(config: StageCostsConfig, scene: Path, model: ModelFolder) -> list[tuple[str, list[str], Path]]:
    """Name, command, and the folder that it writes."""
    of, to, preset = ["-s", str(scene)], ["-m", str(model.root)], ["--preset", config.preset]
    lifted = ["--field", "lifted"]
    return [
        ("preprocess", ["preprocess.py", *of, "--features", "mini", *preset], scene / "language_features"),
        ("autoencoder", ["train_autoencoder.py", *of, *to], model.root / "autoencoder"),
        ("codebook", ["train_autoencoder.py", *of, *to, "--method", "codebook"], model.root / "autoencoder"),
        ("rgb", ["train.py", *of, *to, "--eval", *preset], model.root / "point_cloud"),
        (
            "language published",
            ["train.py", *of, *to, "--include_feature", "--field", "published", *preset],
            model.root / "language",
        ),
        ("language lifted", ["train.py", *of, *to, "--include_feature", *lifted], model.root / "language"),
        ("render", ["render.py", *of, *to, "--include_feature", *lifted], model.root / "renders"),
        ("query published", ["eval_query.py", *of, *to, "--field", "published", "--text", *PHRASES], model.root / "eval"),
        ("query lifted", ["eval_query.py", *of, *to, *lifted, "--text", *PHRASES], model.root / "eval"),
        ("locate", ["locate.py", *of, *to, *lifted, "--text", *PHRASES], model.root / "objects"),
    ]


def _measured(command: list[str]) -> dict[str, Any]:
    """Wall seconds, seconds of all cores, and the largest resident memory of one process of the command."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(ROOT / command[0]), *command[1:]], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"exit code {process.returncode}: python {' '.join(command)}")
    seconds, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "memory_mb": round(usage.ru_maxrss / 1024, 1)}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _gaussians(model: ModelFolder) -> int | None:
    paths = sorted(model.point_clouds.glob("iteration_*/point_cloud.ply"))
    return len(read_vertices(paths[-1])) if paths else None


def _parsed(size: str) -> tuple[int, int, int]:
    try:
        width, height, photographs = (int(part) for part in size.split("x"))
    except ValueError:
        raise InputError(f"--sizes {size!r}: expected width x height x photographs, such as 640x480x72.") from None
    return width, height, photographs


if __name__ == "__main__":
    command_line.run(stage_costs, StageCostsConfig)
