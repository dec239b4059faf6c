"""ScanNet's points by class: every Gaussian is a point of the scan and gets the class name with the highest cosine.

`python -m evaluation.scan_segmentation -m output/scene0000_00 output/scene0062_00 ...` evaluates each scene with 19, 15 and 10
classes and prints the means beside the published ones (docs/protocols.md).
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import tyro
from jaxtyping import Float, Int
from torch import Tensor

from evaluation.gaussian_scores import gaussian_scores
from evaluation.procedure import distinct
from evaluation.protocols import scannet
from evaluation.tables import scenes_with_spread
from query.field import LanguageField
from query.question import Question
from query.session import Session, SessionConfig
from query.tables import table
from scene.point_cloud import read_labelled_points
from workspace import InputError, ModelFolder, command_line, write_json
from workspace.answer_folder import AnswerFolder
from workspace.record_types import EvalScanRecord
from workspace.replaced_folder import replaced_folder
from workspace.stage_record import stage

ANY_LEVEL = "any"
LABELS = "_vh_clean_2.labels.ply"  # after the name of the scan
MOVED = 1e-3  # scene units (metres); positions that were optimised differ by more
# mIoU in per cent of 19, 15 and 10 classes, from secondary tables; mAcc where known.
PUBLISHED: Mapping[str, tuple[str, str, str]] = {
    "LangSplat": ("2.45", "3.45", "6.48"),
    "LangSplatV2": ("14.75", "17.09", "22.83"),
    "OpenGaussian": ("27.73", "29.67", "39.93"),
    "Dr.Splat": ("29.31", "33.25", "44.19"),
    "Occam's LGS": ("31.93 / 48.93", "34.25 / 53.71", "45.16 / 64.39"),
    "VALA": ("32.11", "35.10", "46.21"),
}


@dataclass(frozen=True)
class ScanConfig(SessionConfig):
    """Which models of scanned scenes to evaluate."""

    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])]
    """Model folders trained with --fixed_points; several of one scene are repetitions, averaged."""
    shuffled_control: bool = False
    """Also judge with the class names assigned in every other cyclic order: what chance and the scene's layout would score."""


def evaluate_scans(config: ScanConfig) -> None:
    """Measure language fields on the labelled points of ScanNet scenes."""
    if not config.model_path:
        raise InputError("No model folders. Give those of the scenes: -m <model> [<model> ...]")
    runs: dict[str, list[dict[str, Any]]] = {}
    read = set()
    for path in distinct(config.model_path):
        name, field, results = _evaluate(config, ModelFolder(path))
        runs.setdefault(name, []).append(results)
        read.add(field)
    sys.stdout.write(_table(" and ".join(sorted(read)), runs))


def _evaluate(config: ScanConfig, folder: ModelFolder) -> tuple[str, str, dict[str, Any]]:
    """Name of the scene, name of the field, and the figures by number of classes and level."""
    session = Session.open(config, folder)
    model = session.model
    field, scan = session.field, labelled_scan(session.scene.folder.root)
    name, nyu40 = scan.name.removesuffix(LABELS), _labels_of(field, scan, model)
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("model_path", "field", "device")}
    settings |= {key: str(value) for key, value in settings.items() if isinstance(value, Path)}
    results: dict[str, Any] = {}
    inputs = field.fingerprint() | {"features": field.features}
    with replaced_folder(model.scan_evaluation) as new, stage(new, EvalScanRecord, settings, inputs):
        for num_classes in scannet.CLASSES:
            question = session.question(scannet.phrases(num_classes))
            truth = scannet.ground_truth(nyu40, field.trained.gaussians.opacities, num_classes)
            results[str(num_classes)] = {
                level: _measured(truth, cosines, num_classes, config.shuffled_control)
                for level, cosines in _cosines(field, question).items()
            }
        write_json(AnswerFolder(new).metrics, {"scene": name, "protocol": "scannet", "classes": results})
    return name, model.field, results


def labelled_scan(folder: Path) -> Path:
    """The labelled points of a scan; found by their ending, since the folder may be a link of another name."""
    found = sorted(folder.glob(f"*{LABELS}"))
    if len(found) != 1:
        raise InputError(
            f"{folder} holds {len(found)} files *{LABELS}; expected one, the labelled points of the scan "
            "(docs/results.md says where to get it)."
        )
    return found[0]


def _labels_of(field: LanguageField, path: Path, model: ModelFolder) -> Int[Tensor, " n"]:
    """NYU40 ids of the Gaussians, which must be the points of the scan at `path`, in the same order."""
    xyz, labels = read_labelled_points(path)
    means = field.trained.gaussians.means
    remedy = f"Train with positions frozen: python train.py -s {path.parent} -m {model.root} --fixed_points --overwrite"
    if len(means) != len(xyz):
        raise InputError(f"{model.root} has {len(means)} Gaussians and {path} {len(xyz)} points; expected one for each. {remedy}")
    moved = float((means.cpu() - torch.from_numpy(xyz)).abs().max())
    if moved > MOVED:
        raise InputError(f"A Gaussian of {model.root} is {moved:.3g} away from its point in {path}; expected none. {remedy}")
    return torch.from_numpy(labels).to(means.device)


def _cosines(field: LanguageField, question: Question) -> dict[str, Float[Tensor, "n c"]]:
    """Cosines per level, and with several levels also their maximum over the levels; 0 for Gaussians without a code."""
    scores = gaussian_scores(question)
    cosines = scores.cosines.new_zeros(len(field.levels), len(scores.known), len(question.phrases))
    cosines[:, scores.known] = scores.cosines.movedim(1, 2)
    found = dict(zip(field.levels, cosines, strict=True))
    return found | {ANY_LEVEL: cosines.amax(0)} if len(found) > 1 else found


def _measured(truth: Int[Tensor, " n"], cosines: Float[Tensor, "n c"], num_classes: int, control: bool) -> dict[str, Any]:
    predicted = scannet.predict(cosines)
    found = scannet.figures(truth, predicted, num_classes)
    names = scannet.phrases(num_classes)
    result: dict[str, Any] = {name: _number(getattr(found, name)) for name in ("miou", "macc", "accuracy")}
    result["iou"] = {names[c - 1]: value for c, value in found.iou.items()}
    result["absent"] = [name for name in names if name not in result["iou"]]
    if control:
        shifted = [(predicted - 1 + shift) % num_classes + 1 for shift in range(1, num_classes)]
        result["shuffled_miou"] = _number(fmean(scannet.figures(truth, other, num_classes).miou for other in shifted))
    return result


def _number(value: float) -> float | None:
    """None for NaN, which JSON lacks; a scene without labelled points yields it."""
    return None if value != value else value


def _table(field: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    heading = ["mIoU / mAcc, %", *(f"{count} classes" for count in scannet.CLASSES)]
    rows = [[name, *cells] for name, cells in PUBLISHED.items()]
    first = next(iter(runs.values()))[0]
    for level in first["19"]:
        rows.append([f"ours, level {level}", *(_cell(runs, str(count), level) for count in scannet.CLASSES)])
    if "shuffled_miou" in next(iter(first["19"].values())):
        for level in first["19"]:
            cells = [_mean(runs, str(count), level, "shuffled_miou") for count in scannet.CLASSES]
            rows.append([f"control, level {level}", *cells])
    missing = [name for name in scannet.SCENES if name not in runs]
    scenes = f"mean of {len(runs)} scenes" + (f"; of the published ten, without {', '.join(missing)}" if missing else "")
    return f"{table(heading, rows)}\nfield {field}; arg-max of cosines, no negatives; {scenes}\n"


def _cell(runs: Mapping[str, Sequence[Mapping[str, Any]]], count: str, level: str) -> str:
    return f"{_mean(runs, count, level, 'miou')} / {_mean(runs, count, level, 'macc')}"


def _mean(runs: Mapping[str, Sequence[Mapping[str, Any]]], count: str, level: str, measure: str) -> str:
    """Mean over the scenes with the spread over repetitions; "-" when a scene has no labelled points, as published."""
    return scenes_with_spread([[run[count].get(level, {}).get(measure) for run in found] for found in runs.values()])


if __name__ == "__main__":
    command_line.run(evaluate_scans, ScanConfig)
