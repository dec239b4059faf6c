"""What each choice is worth: one factor at a time from the defaults, on generated worlds, as one table.

    python -m benchmarks.ablation [--worlds 0 1 2 3 4] [--seeds 0 1 2] [-o output/ablation]

A row is one choice. Its differences to the defaults are paired by world and seed, and stand with their standard deviation. Run
again, it continues. docs/ablation.md holds the table and says what follows from it.
"""

import contextlib
import io
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import tyro

from evaluation.stage import QueryConfig, eval_query
from query.tables import table
from workspace import ModelFolder, SceneFolder, command_line, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
MEASURES = {"localization_accuracy": "localisation", "miou": "mIoU"}
DEFAULT = "defaults"
FIELDS: Mapping[str, tuple[str, str, str]] = {  # choice -> factor, flags of train_autoencoder.py, flags of language training
    DEFAULT: ("", "", "--preset fast"),
    "6 channels": ("channels of the autoencoder", "--code_width 6", "--preset fast"),
    "principal components, 3": ("compressor", "--method pca --code_width 3", "--preset fast"),
    "principal components, 16": ("compressor", "--method pca --code_width 16", "--preset fast"),
    "principal components, 32": ("compressor", "--method pca --code_width 32", "--preset fast"),
    "lifted only": ("optimisation", "", "--init lift --iterations 0"),
    "1000 iterations from the lift": ("optimisation", "", "--init lift --iterations 1000"),
    "1000 iterations from zero": ("optimisation", "", "--init zero --iterations 1000"),
    "32 components, lifted only": ("optimisation", "--method pca --code_width 32", "--init lift --iterations 0"),
}
QUESTIONS: Mapping[str, tuple[str, str]] = {  # choice -> factor, flags of eval_query.py on the default field
    "LangSplatV2": ("rule", "--rule langsplat_v2"),
    "fast: scores rendered": ("reading", "--reading fast"),
    "relevancy per Gaussian, rendered": ("reading", "--reading gaussian"),
    "LUDVIG, uplifted: 5 x 5, Otsu": ("rule", "--rule ludvig_uplifted"),
    "LUDVIG, diffused: no smoothing, Otsu": ("rule", "--rule ludvig_diffused"),
    "LUDVIG, uplifted, relevancy per Gaussian": ("rule and reading", "--rule ludvig_uplifted --reading gaussian"),
    "Occam's LGS, program": ("rule", "--rule occam"),
    "Occam's LGS, script": ("rule", "--rule occam_script"),
    **{f"{value}": ("threshold of the mask", f"--mask_thresh {value}") for value in (0.2, 0.3, 0.5, 0.6, 0.7)},
    **{f"{level} alone": ("levels", f"--level {level}") for level in "sml"},
    "one: object": ("negatives", "--negatives object"),
    "two: object, texture": ("negatives", "--negatives object texture"),
    "eight: with background, scene, room, surface": (
        "negatives",
        "--negatives object things stuff texture background scene room surface",
    ),
    "in the compressed space": ("comparison", "--compare latent"),
}


@dataclass(frozen=True)
class AblationConfig:
    """Which worlds, at which size."""

    worlds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the generated worlds."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings in each world."""
    width: int = 640
    """Width of the photographs, pixels; the height is three quarters of it."""
    views: int = 72
    """Photographs; every 8th is held out and asked."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output/ablation")
    """Folder for worlds, models and figures."""


def ablation(config: AblationConfig) -> None:
    """Measure every choice on every world and print the table."""
    results: dict[str, list[dict[str, float]]] = {}
    for world in config.worlds:
        for seed in config.seeds:
            for choice, figures in _figures(config, world, seed):
                results.setdefault(choice, []).append(figures)
    factors = {choice: factor for choice, (factor, *_) in (*FIELDS.items(), *QUESTIONS.items())}
    print(_markdown(results, factors))
    print(f"\n{len(config.worlds)} worlds, {len(config.seeds)} seeds each, {config.width} pixels wide, {config.views} views")


def _figures(config: AblationConfig, world: int, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Every choice with its figures on the held-out views; those measured before are read."""
    folder = config.output_path.resolve() / f"{config.width}x{config.views}" / f"world_{world}"
    scene = SceneFolder(folder / "scene")
    size = f"--width {config.width} --height {config.width * 3 // 4} --views {config.views}"
    _run(f"-m toy_world -s {scene.root} --seed {world} {size}")
    _run(f"preprocess.py -s {scene.root} --features mini")
    models = {choice: ModelFolder(folder / f"seed_{seed}" / f"field_{i}") for i, choice in enumerate(FIELDS)}
    default = models[DEFAULT]
    _run(f"train.py -s {scene.root} -m {default.root} --eval --preset fast --seed {seed}")
    for choice, (_, compressor, language) in FIELDS.items():
        model = models[choice]
        if not model.point_clouds.exists():
            shutil.copytree(default.point_clouds, model.point_clouds)
        _run(f"train_autoencoder.py -s {scene.root} -m {model.root} --seed {seed} {compressor}")
        _run(f"train.py -s {scene.root} -m {model.root} --include_feature --seed {seed} {language}")
        yield choice, _asked(scene, model, choice, "")
    for choice, (_, flags) in QUESTIONS.items():
        yield choice, _asked(scene, default, choice, flags)


def _run(command: str) -> None:
    """One command of the pipeline, its output shown only when it fails."""
    done = subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"python {command}\n{done.stdout}{done.stderr}")


def _asked(scene: SceneFolder, model: ModelFolder, choice: str, flags: str) -> dict[str, float]:
    kept = model.root / "ablation.json"
    known = read_json(kept) if kept.exists() else {}
    if choice not in known:
        arguments = f"-s {scene.root} -m {model.root} --labels {scene.labels} --split test --shuffled_control {flags}"
        with contextlib.redirect_stdout(io.StringIO()):
            eval_query(tyro.cli(QueryConfig, args=shlex.split(arguments)))
        metrics = read_json(model.metrics)
        known[choice] = {name: metrics[name] for name in (*MEASURES, "shuffled_miou", "queries")}
        write_json(kept, known)
    return known[choice]


def _markdown(results: Mapping[str, Sequence[Mapping[str, float]]], factors: Mapping[str, str]) -> str:
    """Defaults as they are, then every choice as differences in points."""
    base = results[DEFAULT]
    lines = [DEFAULT, *(choice for choice in results if choice != DEFAULT)]
    rows = []
    for choice in lines:
        cells = []
        for name in MEASURES:
            if choice == DEFAULT:
                cells.append(_spread([100 * run[name] for run in base], ""))
            else:
                pairs = zip(results[choice], base, strict=True)
                cells.append(_spread([100 * (run[name] - before[name]) for run, before in pairs], "+"))
        better = sum(run["miou"] > before["miou"] for run, before in zip(results[choice], base, strict=True))
        control = 100 * fmean(run["shuffled_miou"] for run in results[choice])
        rows.append([factors[choice], choice, *cells, "" if choice == DEFAULT else f"{better} of {len(base)}", f"{control:.1f}"])
    heading = ["factor", "choice", *MEASURES.values(), "better mIoU", "control mIoU"]
    return table(heading, rows)


def _spread(values: Sequence[float], sign: str) -> str:
    return f"{fmean(values):{sign}.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    command_line.run(ablation, AblationConfig)
