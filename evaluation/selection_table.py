"""LERF-OVS in 3D as tables: the published rows, then ours by each evaluator, which are never mixed.

`python -m evaluation.selection_table -m output/figurines output/ramen ...`
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from evaluation.procedure import distinct, refuse_stale, the_only
from evaluation.tables import scenes_with_spread, with_spread
from query.tables import table
from workspace import InputError, ModelFolder, command_line, read_json
from workspace.record_types import Eval3dRecord
from workspace.stage_record import require

SCENES = ("figurines", "ramen", "teatime", "waldo_kitchen")
# mIoU / Acc@0.25 in per cent, as table 1 of VALA prints them. It does not say which evaluator measured each row.
PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "LangSplat": ("-", "-", "-", "-", "10.35 / 13.64"),
    "LEGaussians": ("-", "-", "-", "-", "16.21 / 23.82"),
    "OpenGaussian": ("39.29 / 55.36", "31.01 / 42.25", "60.44 / 76.27", "22.70 / 31.82", "38.36 / 51.43"),
    "SuperGSeg": ("-", "-", "-", "-", "35.94 / 52.02"),
    "Dr.Splat": ("54.42 / 80.36", "24.33 / 35.21", "57.35 / 77.97", "37.05 / 63.64", "43.29 / 64.30"),
    "InstanceGaussian": ("-", "-", "-", "-", "43.87 / 61.09"),
    "Occam's LGS": ("52.90 / 78.57", "32.01 / 54.92", "61.02 / 93.22", "42.95 / 72.72", "47.22 / 74.84"),
    "VoteSplat": ("-", "-", "-", "-", "50.10 / 67.38"),
    "CAGS": ("-", "-", "-", "-", "50.79 / 69.62"),
    "VALA": ("-", "-", "-", "-", "58.02 / 82.85"),
}
EVALUATORS: Mapping[str, str] = {
    "opengaussian": "OpenGaussian's evaluator: a pixel counts above an opacity of 0.7",
    "vala": "VALA's evaluator: a pixel counts from an opacity of 10.5/255",
}


@dataclass(frozen=True)
class SelectionTableConfig:
    """Which evaluated models make up the table."""

    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])]
    """Model folders evaluated by evaluation.object_selection; several of one scene are repetitions, averaged."""
    field: str | None = None
    """Which of their language fields; when not given the only one, else published."""


def selection_table(config: SelectionTableConfig) -> None:
    """Print evaluated scenes beside the published figures of 3D object selection."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in distinct(config.model_path):
        metrics = _metrics(ModelFolder(path).reading(config.field, "eval_3d"))
        runs.setdefault(metrics["scene"], []).append(metrics)
    unknown = [scene for scene in runs if scene not in SCENES]
    if unknown:
        raise InputError(f"No scene of LERF-OVS is named {', '.join(unknown)}; it has {', '.join(SCENES)}.")
    procedures = {metrics.get("procedure", "not recorded") for found in runs.values() for metrics in found}
    procedure = the_only(procedures, "python -m evaluation.object_selection")
    heading = ["mIoU / Acc@0.25, %", *SCENES, "mean"]
    parts = ["Published, as printed in VALA's table 1 (the evaluator of each row is not stated)"]
    parts.append(table(heading, [[name, *cells] for name, cells in PUBLISHED.items()]))
    selections = next(iter(runs.values()))[0]["selections"]
    for evaluator, title in EVALUATORS.items():
        parts += [f"\nOurs by {title}", table(heading, [_row(runs, name, evaluator) for name in selections])]
    parts.append(f"\n{procedure}; units: {_units(runs)}; the mean is that of the four scenes")
    sys.stdout.write("\n".join(parts) + "\n")


def _row(runs: Mapping[str, Sequence[Mapping[str, Any]]], selection: str, evaluator: str) -> list[str]:
    by_scene: dict[str, list[list[float]]] = {"miou": [], "accuracy_25": []}
    cells = []
    for scene in SCENES:
        found = [run["selections"].get(selection, {}).get(evaluator) for run in runs.get(scene, ())]
        if not found or None in found:
            cells.append("-")
            continue
        values = {measure: [one[measure] for one in found] for measure in by_scene}
        for measure, each in values.items():
            by_scene[measure].append(each)
        cells.append(" / ".join(with_spread(each) for each in values.values()))
    whole = len(by_scene["miou"]) == len(SCENES)
    return [selection, *cells, " / ".join(map(scenes_with_spread, by_scene.values())) if whole else "-"]


def _units(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    counts = []
    for scene, found in runs.items():
        one = next(iter(found[0]["selections"].values()))["vala"]
        counts.append(f"{scene} {one['units']} ({one['missing']} without a prediction)")
    return ", ".join(counts)


def _metrics(model: ModelFolder) -> dict[str, Any]:
    command = f"python -m evaluation.object_selection -m {model.root}{model.flag} --labels <labels>"
    refuse_stale(model, require(model.selection_evaluation, Eval3dRecord, command), command)
    return read_json(model.selection_metrics)


if __name__ == "__main__":
    command_line.run(selection_table, SelectionTableConfig)
