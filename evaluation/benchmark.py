"""A benchmark as one table: the evaluated scenes beside the published figures.

`python -m evaluation.benchmark --protocol lerf_ovs -m output/figurines output/ramen ...`
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from evaluation.catalogue import PROTOCOLS, ProtocolName
from evaluation.protocol import LabelProtocol, Measure
from evaluation.scores import over_scenes
from evaluation.tables import percent, scenes_with_spread, with_spread
from query.tables import table
from workspace import InputError, ModelFolder, command_line, read_json
from workspace.record_types import EvalRecord
from workspace.stage_record import require


@dataclass(frozen=True)
class BenchmarkConfig:
    """Which evaluated models make up the benchmark."""

    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])]
    """Model folders evaluated by eval_query.py; several of one scene are repetitions, averaged."""
    field: str | None = None
    """Which of their language fields; when not given the only one, else published."""
    protocol: ProtocolName = "lerf_ovs"
    """Whose published figures to print beside."""


def benchmark(config: BenchmarkConfig) -> None:
    """Print the evaluated scenes of a benchmark beside the published figures."""
    if not config.model_path:
        raise InputError("No model folders. Give those that eval_query.py evaluated: -m <model> [<model> ...]")
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in config.model_path:
        metrics = _metrics(ModelFolder(path).reading(config.field, "eval"), config.protocol)
        runs.setdefault(metrics["scene"], []).append(metrics)
    rules = {_procedure(metrics) for found in runs.values() for metrics in found}
    if len(rules) > 1:
        raise InputError(
            f"These models were answered differently ({'; '.join(sorted(rules))}), and such figures do not compare. "
            "Evaluate all of them with the same --rule and --reading."
        )
    protocol = PROTOCOLS[config.protocol]
    unknown = [scene for scene in runs if scene not in protocol.scenes]
    if unknown:
        raise InputError(f"No scene of {config.protocol} is named {', '.join(unknown)}; it has {', '.join(protocol.scenes)}.")
    sys.stdout.write(f"\nprotocol {config.protocol}, answers by the {rules.pop()}\n")
    for measure in protocol.measures:
        sys.stdout.write(f"\n{measure.title}\n{comparison(protocol, measure, runs)}\n")
    sys.stdout.write(f"\n{_totals(runs)}\n")


def comparison(protocol: LabelProtocol, measure: Measure, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One measure as a table: published rows, then ours with the spread over runs; the overall is the mean of the scenes."""
    scenes = protocol.scenes
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in measure.published.items()]
    values = {scene: [run[measure.name] for run in found] for scene, found in runs.items()}
    cells = [with_spread(values[scene]) if scene in values else "-" for scene in scenes]
    complete = all(scene in values for scene in scenes)
    rows.append(["ours", *cells, scenes_with_spread([values[scene] for scene in scenes]) if complete else "-"])
    return table(["", *scenes, "overall"], rows)


def _totals(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Hits and query-weighted means of each repetition that all scenes have."""
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


def _procedure(metrics: Mapping[str, Any]) -> str:
    """Answer rule and reading of an evaluation, as text."""
    return f"rule {metrics.get('rule', 'langsplat')}, reading {metrics.get('reading', 'protocol')}"


def _metrics(model: ModelFolder, protocol: ProtocolName) -> dict[str, Any]:
    command = f"python eval_query.py -m {model.root}{model.flag} --labels <labels> --protocol {protocol}"
    require(model.evaluation, EvalRecord, command)
    metrics = read_json(model.metrics)
    if metrics["protocol"] != protocol:
        raise InputError(f"{model.metrics} is of protocol {metrics['protocol']}, not {protocol}. Run: {command}")
    return metrics


if __name__ == "__main__":
    command_line.run(benchmark, BenchmarkConfig)
