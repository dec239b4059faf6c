"""Effect of each choice, one factor at a time from the defaults, on generated worlds, as one table.

    python -m benchmarks.ablation [--worlds 0 1 2 3 4] [--seeds 0 1 2] [--fields "k 4" "K 64"] [-o output/ablation]

A row is one choice, one factor away from the optimised or from the lifted defaults. Its differences are paired by world and seed
and printed with their standard deviation. A second run continues the first.
"""

import contextlib
import io
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Literal

import tyro

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from evaluation.stage import QueryConfig, eval_query
from features.preprocessing import PreprocessConfig, preprocess
from query.tables import table
from toy_world import generate
from training.language import LanguageTrainConfig, train_language
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder, SceneFolder, command_line, read_json, write_json
from workspace.slugs import slug

STAGES: Mapping[str, tuple[Callable, type]] = {
    "toy_world": (generate.main, generate.ToyWorldConfig),
    "preprocess.py": (preprocess, PreprocessConfig),
    "train.py": (train_rgb, RgbTrainConfig),
    "train_autoencoder.py": (train_autoencoder, AutoencoderConfig),
    "train.py --include_feature": (train_language, LanguageTrainConfig),
}
MEASURES = {"localization_accuracy": "localisation", "miou": "mIoU"}
OPTIMISED, LIFTED = "optimised defaults", "lifted defaults"
NAMES = {OPTIMISED: "optimised", LIFTED: "lifted"}  # where more follows


@dataclass(frozen=True)
class Field:
    """Training settings of a field, one factor away from another field."""

    factor: str
    compressor: str
    """Flags of train_autoencoder.py."""
    language: str
    """Flags of train.py --include_feature."""
    base: str
    """Field that it is compared with."""


@dataclass(frozen=True)
class Asking:
    """Query settings, one factor away from the defaults of eval_query.py."""

    factor: str
    flags: str


FIELDS: Mapping[str, Field] = {
    OPTIMISED: Field("", "", "--preset fast", OPTIMISED),
    "6 channels": Field("channels of the autoencoder", "--code_width 6", "--preset fast", OPTIMISED),
    "principal components, 3": Field("compressor", "--method pca --code_width 3", "--preset fast", OPTIMISED),
    "principal components, 16": Field("compressor", "--method pca --code_width 16", "--preset fast", OPTIMISED),
    "principal components, 32": Field("compressor", "--method pca --code_width 32", "--preset fast", OPTIMISED),
    "autoencoder, mean of the views": Field("iterations", "", "--init lift --iterations 0", OPTIMISED),
    "1000 from the mean of the views": Field("iterations", "", "--init lift --iterations 1000", OPTIMISED),
    "1000 from zero": Field("iterations", "", "--init zero --iterations 1000", OPTIMISED),
    LIFTED: Field("optimised or lifted", "--method codebook", "", OPTIMISED),
    "K 64": Field("codes at a level (256)", "--method codebook --codebook_size 64", "", LIFTED),
    "K 1024": Field("codes at a level (256)", "--method codebook --codebook_size 1024", "", LIFTED),
    "k 1": Field("codes of a Gaussian (2)", "--method codebook", "--codes_per_gaussian 1", LIFTED),
    "k 4": Field("codes of a Gaussian (2)", "--method codebook", "--codes_per_gaussian 4", LIFTED),
    "k 8": Field("codes of a Gaussian (2)", "--method codebook", "--codes_per_gaussian 8", LIFTED),
    "projected centre only": Field("samples (all)", "--method codebook", "--samples centre", LIFTED),
    **{
        f"K {codes}, k {kept}": Field(
            "K and k (256, 2)", f"--method codebook --codebook_size {codes}", f"--codes_per_gaussian {kept}", LIFTED
        )
        for codes in (64, 1024)
        for kept in (1, 4, 8)
    },
}
READINGS: Mapping[str, Asking] = {  # of every field without training
    "fast: scores rendered": Asking("reading (protocol)", "--reading fast"),
    "relevancy per Gaussian, rendered": Asking("reading (protocol)", "--reading gaussian"),
}
ASKINGS: Mapping[str, Asking] = {  # of both default fields
    **READINGS,
    "LangSplatV2": Asking("smoothing, threshold, vote", "--rule langsplat_v2"),
    "LUDVIG uplifted: 5 x 5, Otsu": Asking("smoothing, threshold, vote", "--rule ludvig_uplifted"),
    "LUDVIG diffused: none, Otsu": Asking("smoothing, threshold, vote", "--rule ludvig_diffused"),
    "LUDVIG uplifted per Gaussian": Asking("smoothing, threshold, vote", "--rule ludvig_uplifted --reading gaussian"),
    "Occam's LGS, program: none, stable": Asking("smoothing, threshold, vote", "--rule occam"),
    "Occam's LGS, script: none, stable": Asking("smoothing, threshold, vote", "--rule occam_script"),
    **{f"{value}": Asking("threshold (0.4, relative)", f"--mask_thresh {value}") for value in (0.2, 0.3, 0.5, 0.6, 0.7)},
    **{f"{level} alone": Asking("levels (s, m, l)", f"--level {level}") for level in "sml"},
    "one: object": Asking("negatives (four)", "--negatives object"),
    "two: object, texture": Asking("negatives (four)", "--negatives object texture"),
    "eight: and background, scene, room, surface": Asking(
        "negatives (four)", "--negatives object things stuff texture background scene room surface"
    ),
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
    fields: tuple[str, ...] = tuple(FIELDS)
    """Fields to train; those that they are compared with are added."""
    questions: Literal["all", "readings", "none"] = "all"
    """readings: lifted fields are read in all three ways. all: the default fields are also asked in every way."""
    rgb: str = "--preset fast"
    """Settings of train.py for the Gaussians."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output/ablation")
    """Folder for worlds, models and figures."""


def ablation(config: AblationConfig) -> None:
    """Measure every choice on every world and print the table."""
    unknown = [name for name in config.fields if name not in FIELDS]
    if unknown:
        raise InputError(f"--fields {unknown[0]!r}: expected some of {', '.join(map(repr, FIELDS))}.")
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for world in config.worlds:
        for seed in config.seeds:
            for field, asking, figures in _figures(config, world, seed):
                results.setdefault((field, asking), []).append(figures)
    print(_table(results))
    print(f"\n{len(config.worlds)} worlds, {len(config.seeds)} seeds each, {config.width} pixels wide, {config.views} views")
    if len(config.seeds) > 1:
        for name in [name for name in NAMES if (name, "") in results]:
            spread = (f"{title} {_between_seeds(results[name, ''], measure, config):.1f}" for measure, title in MEASURES.items())
            print(f"{name}, standard deviation between the seeds of a world, mean of the worlds: {', '.join(spread)}")


def _figures(config: AblationConfig, world: int, seed: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Every field and query setting with its figures on the held-out views; figures of an earlier run are read."""
    folder = config.output_path.resolve() / f"{config.width}x{config.views}" / f"world_{world}"
    scene = SceneFolder(folder / "scene")
    size = f"--width {config.width} --height {config.width * 3 // 4} --views {config.views}"
    _run("toy_world", f"-s {scene.root} --seed {world} {size}")
    _run("preprocess.py", f"-s {scene.root} --features mini")
    models = {name: ModelFolder(folder / f"seed_{seed}" / slug(name)) for name in FIELDS}
    photographs = models[OPTIMISED]
    _run("train.py", f"-s {scene.root} -m {photographs.root} --eval --seed {seed} {config.rgb}")
    chosen = {OPTIMISED, *config.fields, *(FIELDS[name].base for name in config.fields)}
    for name, field in FIELDS.items():
        if name not in chosen:
            continue
        model = models[name]
        if not model.point_clouds.exists():
            shutil.copytree(photographs.point_clouds, model.point_clouds)
        _run("train_autoencoder.py", f"-s {scene.root} -m {model.root} --seed {seed} {field.compressor}")
        _run("train.py --include_feature", f"-s {scene.root} -m {model.root} --seed {seed} {field.language}")
        yield name, "", _asked(scene, model, "")
        lifted = "codebook" in field.compressor
        askings = ASKINGS if config.questions == "all" and name in (OPTIMISED, LIFTED) else READINGS if lifted else {}
        for choice, asking in askings.items() if config.questions != "none" else ():
            yield name, choice, _asked(scene, model, asking.flags)


def _run(stage: str, arguments: str) -> None:
    """One stage of the pipeline in this process, its output shown only when it fails."""
    function, settings = STAGES[stage]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            function(tyro.cli(settings, args=shlex.split(arguments)))
    except BaseException:
        sys.stderr.write(f"python {stage} {arguments}\n{output.getvalue()}")
        raise


def _asked(scene: SceneFolder, model: ModelFolder, flags: str) -> dict[str, float]:
    kept = model.root / "ablation.json"
    known = read_json(kept) if kept.exists() else {}
    if flags not in known:
        arguments = f"-s {scene.root} -m {model.root} --labels {scene.labels} --split test --shuffled_control {flags}"
        with contextlib.redirect_stdout(io.StringIO()):
            eval_query(tyro.cli(QueryConfig, args=shlex.split(arguments)))
        metrics = read_json(model.reading(None).metrics)  # the only field of the folder, by its name
        known[flags] = {name: metrics[name] for name in (*MEASURES, "shuffled_miou", "queries")}
        write_json(kept, known)
    return known[flags]


def _table(results: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]) -> str:
    """The optimised defaults in absolute figures, then every choice as the difference in points to its baseline.

    A run is one world and seed: a mean over its held-out (view, phrase) pairs. A row has the mean of the runs and their sample
    standard deviation.
    """
    rows = []
    for (name, choice), runs in results.items():
        field = FIELDS[name]
        compared = name if choice else field.base
        base = results[compared, ""]
        absolute = base is runs
        cells = [
            _spread([100 * (run[measure] - (0 if absolute else before[measure])) for run, before in zip(runs, base, strict=True)])
            for measure in MEASURES
        ]
        better = sum(run["miou"] > before["miou"] for run, before in zip(runs, base, strict=True))
        control = 100 * fmean(run["shuffled_miou"] for run in runs)
        factor = ASKINGS[choice].factor if choice else field.factor
        label = f"{NAMES.get(name, name)}: {choice}" if choice else name
        against = "" if absolute else compared
        rows.append([factor, label, against, *cells, "" if absolute else f"{better} of {len(base)}", f"{control:.1f}"])
    return table(["factor (default)", "choice", "difference to", *MEASURES.values(), "better mIoU", "control mIoU"], rows)


def _between_seeds(runs: Sequence[Mapping[str, float]], measure: str, config: AblationConfig) -> float:
    """Points; `runs` are in the order of the worlds, and of the seeds in each."""
    values, seeds = [100 * run[measure] for run in runs], len(config.seeds)
    return fmean(stdev(values[first : first + seeds]) for first in range(0, len(values), seeds))


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):+.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    command_line.run(ablation, AblationConfig)
