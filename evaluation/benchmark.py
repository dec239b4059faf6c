"""A benchmark as one table: the evaluated scenes beside the published figures.

`python -m evaluation.benchmark --protocol lerf_ovs -m output/figurines output/ramen ...`
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from evaluation.catalogue import PROTOCOLS, ProtocolName
from evaluation.procedure import distinct, refuse_stale, relevancy_text, the_only
from evaluation.protocol import LabelProtocol, Measure
from evaluation.rules import takes_threshold
from evaluation.scores import weighted_by_query
from evaluation.tables import percent, scenes_with_spread, with_spread
from query.tables import table
from workspace import InputError, ModelFolder, command_line, read_json
from workspace.record_types import EvalRecord
from workspace.stage_record import require

OVER_QUERIES = ("localization_accuracy", "miou", "argmax_miou")  # measures that are means over (view, phrase) pairs


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
    procedures = set()
    for path in distinct(config.model_path):
        metrics, found = _metrics(ModelFolder(path).reading(config.field, "eval"), config.protocol)
        runs.setdefault(metrics["scene"], []).append(metrics)
        procedures.add(found)
    procedure = the_only(procedures, "eval_query.py")
    protocol = PROTOCOLS[config.protocol]
    unknown = [scene for scene in runs if scene not in protocol.scenes]
    if unknown:
        raise InputError(f"No scene of {config.protocol} is named {', '.join(unknown)}; it has {', '.join(protocol.scenes)}.")
    sys.stdout.write(f"\nprotocol {config.protocol}; {procedure}\n")
    for measure in protocol.measures:
        sys.stdout.write(f"\n{measure.title}\n{comparison(protocol, measure, runs)}\n")
    sys.stdout.write(f"\n{_totals(protocol, runs)}\n")


def comparison(protocol: LabelProtocol, measure: Measure, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One measure as a table: published rows, then ours with the spread over runs; the overall is the mean of the scenes."""
    scenes = protocol.scenes
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in measure.published.items()]
    values = {scene: [run[measure.name] for run in found] for scene, found in runs.items()}
    cells = [with_spread(values[scene]) if scene in values else "-" for scene in scenes]
    complete = all(scene in values for scene in scenes)
    rows.append(["ours", *cells, scenes_with_spread([values[scene] for scene in scenes]) if complete else "-"])
    return table(["", *scenes, "overall"], rows)


def _totals(protocol: LabelProtocol, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Each repetition that all scenes have, and how many queries were on training views."""
    lines = []
    for index in range(min(len(found) for found in runs.values())):
        scenes = [found[index] for found in runs.values()]
        totals = "; ".join(_total(measure, scenes) for measure in protocol.measures)
        lines.append(f"run {index + 1}, mean of {len(scenes)} scenes: {totals}")
    views = {split: 0 for split in ("training", "held-out")}
    for found in runs.values():
        for split, figures in found[0]["by_split"].items():
            views[split] += figures["queries"]
    lines.append(f"queries on training views: {views['training']}, on held-out views: {views['held-out']}")
    return "\n".join(lines)


def _total(measure: Measure, scenes: Sequence[Mapping[str, Any]]) -> str:
    """Mean of one measure over the scenes, also weighted by query where it is a mean over queries."""
    text = f"{measure.title.replace(', %', '')} {scenes_with_spread([[scene[measure.name]] for scene in scenes])}"
    if measure.name not in OVER_QUERIES:
        return text
    hits, queries = (sum(scene[name] for scene in scenes) for name in ("localization_hits", "queries"))
    counted = f", {hits}/{queries} localised" if measure.name == "localization_accuracy" else ""
    return f"{text} ({percent(weighted_by_query(scenes, measure.name))} weighted by query{counted})"


def _metrics(model: ModelFolder, protocol: ProtocolName) -> tuple[dict[str, Any], str]:
    """Figures of an evaluated model, and how they were computed."""
    command = f"python eval_query.py -m {model.root}{model.flag} --labels <labels> --protocol {protocol}"
    record = require(model.evaluation, EvalRecord, command)
    metrics = read_json(model.metrics)
    if metrics["protocol"] != protocol:
        raise InputError(f"{model.metrics} is of protocol {metrics['protocol']}, not {protocol}. Run: {command}")
    partly = [f"--{name} {shlex.join(given)}" for name in ("names", "classes") if (given := record.config.get(name))]
    if partly:
        raise InputError(
            f"{model.root} was asked only a part of the benchmark ({' '.join(partly)}), which does not compare. Run: {command}"
        )
    refuse_stale(model, record, command)
    return metrics, _procedure(metrics, record.config)


def _procedure(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Everything about a figure that another one must share to compare with it, as text."""
    rule = metrics["rule"]
    parts = [f"field {metrics['field']}", f"rule {rule}"]
    if takes_threshold(rule):
        parts.append(f"threshold {config['mask_thresh']}")
    parts.append(f"reading {metrics['reading']}")
    parts.append(f"level {config['level']}" if config["level"] else f"levels {' '.join(metrics['levels'])}")
    latent = config["compare"] == "latent"
    parts.append("compared in the compressed space, no negatives" if latent else relevancy_text(metrics["relevancy"]))
    if config["resolution"] is not None:
        parts.append(f"resolution {config['resolution']}")
    return "; ".join([*parts, f"views {config['split']}"])


if __name__ == "__main__":
    command_line.run(benchmark, BenchmarkConfig)
