"""A whole benchmark as one table: the evaluated scenes beside the published figures.

`python -m evaluation.benchmark --protocol lerf_ovs -m output/figurines output/ramen ...`
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import tyro

from evaluation.scores import over_scenes
from evaluation.tables import percent, table
from evaluation.tasks import Protocol
from workspace import InputError, ModelFolder, command_line, read_json
from workspace.record import require

# Per cent, from the papers of LangSplat (CVPR 2024), LangSplatV2 (2025) and, for Occam's LGS, VALA's comparison.
# Mip-NeRF360 is LangSplatV2's table.
# The last entry is the overall figure as printed there; most are the mean of the scenes.
SCENES: Mapping[Protocol, tuple[str, ...]] = {
    "lerf_ovs": ("ramen", "figurines", "teatime", "waldo_kitchen"),
    "3d_ovs": ("bed", "bench", "room", "sofa", "lawn"),
    "mipnerf360_goi": ("room", "counter", "garden", "bonsai"),
    "mipnerf360_gags": ("room", "counter", "garden", "bonsai"),
}
PUBLISHED: Mapping[Protocol, Mapping[str, Mapping[str, tuple[float, ...]]]] = {
    "lerf_ovs": {
        "localization_accuracy": {
            "LangSplat": (73.2, 80.4, 88.1, 95.5, 84.3),
            "LangSplatV2": (74.7, 82.1, 93.2, 86.4, 84.1),
            "Occam's LGS": (74.7, 80.4, 93.2, 81.8, 82.5),
        },
        "miou": {
            "LangSplat": (51.2, 44.7, 65.1, 44.5, 51.4),
            "LangSplatV2": (51.8, 56.4, 72.2, 59.1, 59.9),
            "Occam's LGS": (51.0, 58.6, 70.2, 65.3, 61.3),
        },
    },
    "3d_ovs": {
        "miou": {
            "LangSplat": (92.5, 94.2, 94.1, 90.0, 96.1, 93.4),
            "LangSplatV2": (93.0, 94.9, 96.1, 92.3, 96.6, 94.6),
        },
    },
    "mipnerf360_goi": {"miou": {}},  # GOI's paper was not at hand: no figure is known to be of these labels
    "mipnerf360_gags": {
        "miou": {
            "LangSplat": (53.2, 68.8, 51.9, 55.4, 57.3),
            "GOI": (60.3, 46.6, 59.8, 67.3, 58.5),
            "GAGS": (65.2, 61.1, 61.2, 70.5, 64.5),
            "LangSplatV2": (64.3, 75.1, 65.0, 73.1, 69.4),
        },
    },
}
OURS: Mapping[Protocol, tuple[tuple[str, str, str], ...]] = {  # measure, title, published measure beside it
    "lerf_ovs": (
        ("localization_accuracy", "Localisation accuracy, %", "localization_accuracy"),
        ("miou", "mIoU, %", "miou"),
    ),
    "3d_ovs": (
        ("argmax_miou", "mIoU of arg-max masks, %", "miou"),
        ("miou", "mIoU of thresholded masks, %", "miou"),
    ),
    "mipnerf360_goi": (
        ("goi_iou", "mIoU, % (missing predictions skipped)", "miou"),
        ("goi_iou_missing_as_zero", "mIoU, % (missing predictions as 0)", "miou"),
    ),
    "mipnerf360_gags": (("miou", "mIoU, %", "miou"),),
}


@dataclass(frozen=True)
class BenchmarkConfig:
    """Which evaluated models make up the benchmark."""

    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])]
    """Model folders evaluated by eval_query.py; several of one scene are repetitions, averaged."""
    protocol: Protocol = "lerf_ovs"
    """Whose published figures to print beside."""


def benchmark(config: BenchmarkConfig) -> None:
    """Print the evaluated scenes of a benchmark beside the published figures."""
    if not config.model_path:
        raise InputError("No model folders. Give those that eval_query.py evaluated: -m <model> [<model> ...]")
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in config.model_path:
        metrics = _metrics(ModelFolder(path), config.protocol)
        runs.setdefault(metrics["scene"], []).append(metrics)
    rules = {metrics.get("rule", "langsplat") for found in runs.values() for metrics in found}
    if len(rules) > 1:
        raise InputError(
            f"These models were answered by different rules ({', '.join(sorted(rules))}), whose figures do not compare. "
            "Evaluate all of them with the same --rule."
        )
    unknown = [scene for scene in runs if scene not in SCENES[config.protocol]]
    if unknown:
        raise InputError(
            f"No scene of {config.protocol} is named {', '.join(unknown)}; it has {', '.join(SCENES[config.protocol])}."
        )
    sys.stdout.write(f"\nprotocol {config.protocol}, answers by the rule {rules.pop()}\n")
    for measure, title, published in OURS[config.protocol]:
        sys.stdout.write(f"\n{title}\n{comparison(config.protocol, runs, measure, published)}\n")
    sys.stdout.write(f"\n{_totals(runs)}\n")


def comparison(protocol: Protocol, runs: Mapping[str, Sequence[Mapping[str, Any]]], measure: str, published: str) -> str:
    """One measure as a table: published rows, then ours with the spread over runs; the overall is the mean of the scenes."""
    scenes = SCENES[protocol]
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in PUBLISHED[protocol][published].items()]
    values = {scene: [run[measure] for run in found] for scene, found in runs.items()}
    cells = [_spread(values[scene]) if scene in values else "-" for scene in scenes]
    complete = all(scene in values for scene in scenes)
    rows.append(["ours", *cells, percent(fmean(fmean(values[scene]) for scene in scenes)) if complete else "-"])
    return table(["", *scenes, "overall"], rows)


def _totals(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Hits and query-weighted means, once per repetition that all scenes have."""
    lines = []
    for index in range(min(len(found) for found in runs.values())):
        total = over_scenes([found[index] for found in runs.values()])
        lines.append(
            f"run {index + 1}: {total['localization_hits']}/{total['queries']} localised; weighted by query "
            f"{percent(total['localization_accuracy'])} localisation, {percent(total['miou'])} mIoU; "
            f"mean of {total['scenes']} scenes "
            f"{percent(total['macro_localization_accuracy'])} and {percent(total['macro_miou'])}"
        )
    views = {split: 0 for split in ("training", "held-out")}
    for found in runs.values():
        for split, figures in found[0]["by_split"].items():
            views[split] += figures["queries"]
    lines.append(f"queries on training views: {views['training']}, on held-out views: {views['held-out']}")
    return "\n".join(lines)


def _metrics(model: ModelFolder, protocol: Protocol) -> dict[str, Any]:
    command = f"python eval_query.py -m {model.root} --labels <labels> --protocol {protocol}"
    require(model.evaluation, "eval", command)
    metrics = read_json(model.metrics)
    if metrics["protocol"] != protocol:
        raise InputError(f"{model.metrics} is of protocol {metrics['protocol']}, not {protocol}. Run: {command}")
    return metrics


def _spread(values: Sequence[float]) -> str:
    return percent(fmean(values)) + (f"±{percent(stdev(values))}" if len(values) > 1 else "")


if __name__ == "__main__":
    command_line.run(benchmark, BenchmarkConfig)
