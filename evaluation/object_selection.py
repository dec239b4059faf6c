"""LERF-OVS in 3D: each phrase selects Gaussians, and their rendered opacity is compared with the outlines.

`python -m evaluation.object_selection -m <model> --labels <lerf_ovs>/label/figurines` evaluates every selection with both
published evaluators side by side (docs/protocols.md).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from evaluation.catalogue import PROTOCOLS
from evaluation.gaussian_scores import GaussianScores, gaussian_scores
from evaluation.labels import OutlinedFrame
from evaluation.overlap import pairwise_overlap
from evaluation.procedure import distinct, field_files, relevancy_text
from evaluation.protocol import read_labels
from evaluation.protocols.gaussian_selection import select_argmax, select_vala
from evaluation.protocols.lerf_ovs_3d import (
    AlphaRule,
    Overlap,
    figures,
    opengaussian_mask,
    overlaps,
    published_lists,
    vala_mask,
)
from evaluation.tables import percent
from gaussian_renderer import render
from query.session import RelevancyConfig, Session
from query.tables import table
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from workspace import InputError, ModelFolder, command_line, write_json
from workspace.answer_folder import AnswerFolder
from workspace.record_types import Eval3dRecord
from workspace.replaced_folder import replaced_folder
from workspace.stage_record import stage

EVALUATORS: Mapping[str, AlphaRule] = {"opengaussian": opengaussian_mask, "vala": vala_mask}


@dataclass(frozen=True)
class SelectionConfig(RelevancyConfig):
    """Which models to evaluate by 3D object selection."""

    labels: Path
    """Outlines of this scene (lerf_ovs/label/<scene>)."""
    model_path: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-m"])]
    """Model folders with a language field."""
    phrases: Literal["published", "labels"] = "published"
    """What is asked: the scene's published list, so that a label outside it counts as missing, or every labelled phrase."""
    shuffled_control: bool = False
    """Also judge every phrase by the truth of the others: what chance and the scene's layout would score."""


def evaluate_selection(config: SelectionConfig) -> None:
    """Measure a language field by 3D object selection, with both published evaluators."""
    for path in distinct(config.model_path):
        _evaluate(config, ModelFolder(path))


def _evaluate(config: SelectionConfig, folder: ModelFolder) -> None:
    session = Session.open(config, folder)
    model = session.model
    field, scene = session.field, session.scene
    cameras = {camera.name: camera for camera in (*scene.train, *scene.test)}
    labels = read_labels(config.labels, PROTOCOLS["lerf_ovs"], scene)
    name = scene.folder.name
    asked = asked_phrases(config.phrases, name, labels.phrases)
    if not asked:
        raise InputError(f"The labels in {config.labels} outline nothing, so that there is no phrase to ask.")
    if config.shuffled_control and len(asked) < 2:
        raise InputError("--shuffled_control judges phrases by each other's ground truth: it needs two phrases or more.")
    question = session.question(asked, config.negatives)
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("model_path", "field", "device")}
    settings |= {key: str(value) for key, value in settings.items() if isinstance(value, Path)}
    inputs = field.fingerprint() | {"field_files": field_files(model), "features": field.features}
    with replaced_folder(model.selection_evaluation) as new, stage(new, Eval3dRecord, settings, inputs):
        scores, gaussians = gaussian_scores(question), field.trained.gaussians
        frames = [(cameras[key], frame) for key, frame in labels.truths.items()]
        results = {
            selection: _judged(gaussians, masks, question.phrases, frames, config.shuffled_control)
            for selection, masks in selections(scores, gaussians.means, field.levels)
        }
        procedure = f"field {model.field}; {relevancy_text(session.relevancy(config.negatives))}; phrases asked: {config.phrases}"
        head = {"scene": name, "protocol": "lerf_ovs_3d", "phrases": config.phrases, "procedure": procedure}
        write_json(AnswerFolder(new).metrics, head | {"asked": list(asked), "selections": results})
    sys.stdout.write(f"{name}\n{_table(results)}\nrows: {model.selection_metrics}\n")


def asked_phrases(choice: Literal["published", "labels"], scene: str, labelled: Sequence[str]) -> tuple[str, ...]:
    """The phrases that a scene is asked; InputError when it has no published list and that is the choice."""
    if choice == "labels":
        return tuple(labelled)
    lists = published_lists()
    if scene not in lists:
        raise InputError(
            f"There is no published list of phrases for a scene named {scene!r}; there is one for {', '.join(lists)}. "
            "Ask the labelled phrases: --phrases labels"
        )
    return lists[scene].phrases


def selections(
    scores: GaussianScores, means: Float[Tensor, "n 3"], levels: Sequence[str]
) -> Iterator[tuple[str, Bool[Tensor, "p n"]]]:
    """Every published selection by name. The level of the arg-max baseline is unknown, so every level is evaluated."""

    def everywhere(masks: Bool[Tensor, "p k"]) -> Bool[Tensor, "p n"]:
        full = masks.new_zeros(len(masks), len(means))
        full[:, scores.known] = masks
        return full

    for threshold in (0.4, 0.6):
        yield f"vala_{threshold}", everywhere(select_vala(scores.relevancy, means[scores.known], threshold).masks)
    for level, cosines, has_code in zip(levels, scores.cosines, scores.has_code, strict=True):
        yield f"argmax_{level}", everywhere(select_argmax(cosines) & has_code)


def _judged(
    gaussians: GaussianModel,
    masks: Bool[Tensor, "p n"],
    phrases: Sequence[str],
    frames: Sequence[tuple[Camera, OutlinedFrame]],
    control: bool,
) -> dict[str, Any]:
    """Figures and rows of one selection from each evaluator; a view is rendered at the size of its label."""
    rows: dict[str, list[Overlap]] = {name: [] for name in EVALUATORS}
    shuffled: dict[str, list[float]] = {name: [] for name in EVALUATORS}
    for camera, frame in tqdm(frames, desc="views", unit="view", disable=None, leave=False):
        view = camera.resized(frame.width, frame.height)
        wanted = [phrase for phrase in phrases if control or phrase in frame.phrases]
        alphas = {(frame.name, phrase): alpha(view, gaussians, masks[phrases.index(phrase)]) for phrase in wanted}
        for name, rule in EVALUATORS.items():
            rows[name] += overlaps([frame], alphas, rule)
            if control:
                shuffled[name] += _control(frame, {phrase: rule(alphas[frame.name, phrase]) for phrase in wanted})
    return {
        name: {
            **asdict(figures(found)),
            **({"shuffled_miou": fmean(shuffled[name])} if control else {}),
            "rows": [asdict(unit) for unit in found],
        }
        for name, found in rows.items()
    }


def _control(frame: OutlinedFrame, masks: Mapping[str, Bool[Tensor, "h w"]]) -> list[float]:
    """For each labelled phrase, the mean IoU between the masks of all other phrases and its outline."""
    truths = torch.from_numpy(np.stack([frame.mask(phrase, frame.width, frame.height) for phrase in frame.phrases]))
    selected = torch.stack(list(masks.values()))
    overlaps, names = pairwise_overlap(selected, truths.to(selected.device)), list(masks)
    # a label outside the published list has no mask of its own
    return [float(overlaps[[name != phrase for name in names], i].mean()) for i, phrase in enumerate(frame.phrases)]


@torch.inference_mode()
def alpha(camera: Camera, gaussians: GaussianModel, selected: Bool[Tensor, " n"]) -> Float[Tensor, "h w"]:
    """Accumulated opacity in [0, 1] of the selected Gaussians alone."""
    if not selected.any():
        return gaussians.means.new_zeros(camera.height, camera.width)
    kept = gaussians.subset(selected)
    return render(camera, kept, None, kept.means.new_ones(len(kept), 1)).alpha


def _table(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for selection, evaluated in results.items():
        for name, found in evaluated.items():
            measures = [percent(found[key]) for key in ("miou", "accuracy_25", "accuracy_50")]
            shuffled = [percent(found["shuffled_miou"])] if "shuffled_miou" in found else []
            rows.append([selection, name, f"{found['units']} ({found['missing']})", *measures, *shuffled])
    heading = ["selection", "evaluator", "units (missing)", "mIoU", "Acc@0.25", "Acc@0.5"]
    return table(heading + ["control mIoU"] * (len(rows[0]) - len(heading)), rows)


if __name__ == "__main__":
    command_line.run(evaluate_selection, SelectionConfig)
