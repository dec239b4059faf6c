"""Temperature and negatives of a field's text-image encoder, chosen on labelled views and kept with the field.

`python -m evaluation.calibration -m <model> --labels <folder>` chooses in every second labelled view and reports the others.
"""

import logging
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from evaluation.catalogue import PROTOCOLS, ProtocolName
from evaluation.labels import Truth
from evaluation.overlap import intersection_over_union
from evaluation.protocol import Labels, read_labels
from evaluation.rules import RuleName, rule
from query.answer_rule import Rule
from query.calibration import Calibration, write_calibration
from query.field import Negatives
from query.question import clean_phrases
from query.relevancy import BEATS_NEGATIVES, contrast
from query.session import Session, SessionConfig
from query.tables import table
from scene.camera import Camera
from workspace import InputError, ModelFolder, command_line

log = logging.getLogger(__name__)

TEMPERATURES = (2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
WORDS = ("object", "things", "stuff", "texture", "background", "scene", "surface", "photo", "part", "room")
WORTH = 0.005  # mIoU that another choice must add; less is within the noise of a few labelled views
ROUNDS = 4  # changes of the negatives, one phrase each


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig(SessionConfig):
    """Which field to calibrate, and by which labels."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder with a language field."""
    labels: Path | None = None
    """Folder with the ground truth of this scene."""
    protocol: ProtocolName = "lerf_ovs"
    """Format of the labels."""
    rule: RuleName = "langsplat"
    """How maps become masks."""
    candidates: tuple[str, ...] = WORDS
    """Phrases that may become negatives."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["-r"])] = 640
    """Size of the views, as in eval_query.py; masks are compared at this size."""


@dataclass(frozen=True)
class Score:
    """How well relevancy with one choice agrees with labelled views, all in [0, 1] but `log_loss`."""

    miou: float
    localization: float
    presence: float
    """Accuracy of "the phrase is here", the mean of views where it is labelled and of views where it is not."""
    log_loss: float
    """Of relevancy as the probability that a pixel is labelled, labelled and other pixels counted equally."""


@dataclass(frozen=True)
class _View:
    """A labelled view: cosines of its pixels with all phrases and with all candidates for negatives."""

    name: str
    truth: Truth
    phrases: Float[Tensor, "levels p h w"]
    negatives: Float[Tensor, "levels n h w"]


@dataclass(frozen=True)
class _Choice:
    temperature: float
    negatives: tuple[str, ...]


def calibrate(config: CalibrationConfig) -> None:
    """Choose temperature and negatives for a field, and record them with it when views that took no part agree.

    Raises:
        InputError: no labels, fewer than two labelled views, or blank candidates.
    """
    if config.labels is None:
        raise InputError(
            "Calibration compares answers with ground truth: add --labels <folder> with labels of this scene (formats: "
            "docs/protocols.md). Without labels the published values stay."
        )
    candidates = clean_phrases(config.candidates)
    session = Session.open(config, ModelFolder(config.model_path), None, config.resolution)
    scene = session.scene
    labels = read_labels(config.labels, PROTOCOLS[config.protocol], scene)
    cameras = [camera for camera in (*scene.train, *scene.test) if camera.name in labels.truths]
    if len(cameras) < 2:
        raise InputError(
            f"{config.labels} labels {len(cameras)} view of this scene; calibration needs two or more: it chooses in every "
            "second one and is judged in the others."
        )
    before = _Choice(config.temperature or session.memory.temperature, session.memory.negatives)
    words = tuple(dict.fromkeys([*before.negatives, *candidates]))
    views = [_view(session, camera, labels, words) for camera in tqdm(sorted(cameras, key=lambda c: c.name), desc="views")]
    trial = _Trial(labels.phrases, words, rule(config.rule))
    chosen = _best(trial, views[::2], before)
    figures = {
        f"{part} views": {name: trial(choice, some) for name, choice in (("before", before), ("chosen", chosen))}
        for part, some in (("calibration", views[::2]), ("held-out", views[1::2]))
    }
    held_out = figures["held-out views"]
    sys.stdout.write(f"{_table(figures, before, chosen)}\n")
    if chosen == before or held_out["chosen"].miou < held_out["before"].miou:
        why = "Nothing is better" if chosen == before else "The choice is worse in the held-out views"
        sys.stdout.write(f"{why}: {session.model.root} keeps temperature {before.temperature:g} and its negatives.\n")
        return
    record = Calibration(chosen.temperature, chosen.negatives, str(config.labels.resolve()), tuple(v.name for v in views[::2]))
    plain = {part: {name: asdict(score) for name, score in found.items()} for part, found in figures.items()}
    path = write_calibration(session.model, record, {"before": asdict(before), "rule": config.rule, "figures": plain})
    words = " ".join(f'"{phrase}"' for phrase in chosen.negatives)
    sys.stdout.write(
        f"Every later question of this field uses them ({path}; delete it to undo).\n"
        f"For other scenes with this encoder: preprocess.py --temperature {chosen.temperature:g} --negatives {words}\n"
    )


def _view(session: Session, camera: Camera, labels: Labels, words: Sequence[str]) -> _View:
    """Render a view and measure the cosines that every choice is computed from."""
    field, phrases = session.field, labels.phrases
    vectors = session.memory.embed([*phrases, *words])
    # against a zero vector at temperature 1 the relevancy is the sigmoid of the cosine
    nothing = Negatives(field, torch.zeros_like(vectors[:1]), 1.0)
    with torch.inference_mode():
        cosines = torch.logit(field.view(camera).protocol_relevancy(vectors, nothing))
    return _View(camera.name, labels.truths[camera.name], cosines[:, : len(phrases)], cosines[:, len(phrases) :])


@dataclass(frozen=True)
class _Trial:
    """Scores a choice in labelled views."""

    phrases: tuple[str, ...]
    words: tuple[str, ...]
    rule: Rule

    @torch.inference_mode()
    def __call__(self, choice: _Choice, views: Iterable[_View]) -> Score:
        chosen = [self.words.index(phrase) for phrase in choice.negatives]
        ious, hits, losses = [], [], []
        said: dict[bool, list[bool]] = {True: [], False: []}
        for view in views:
            together = torch.cat([view.phrases, view.negatives[:, chosen]], 1).movedim(1, -1)
            relevancy = contrast(together, len(self.phrases), choice.temperature)
            height, width = relevancy.shape[-2:]
            for phrase, levels in zip(self.phrases, relevancy, strict=True):
                labelled = phrase in view.truth.phrases
                said[labelled].append(bool(levels.max() > BEATS_NEGATIVES) == labelled)
                if labelled:
                    answer = self.rule(levels)
                    mask = torch.from_numpy(view.truth.mask(phrase, width, height)).to(levels.device)
                    ious.append(intersection_over_union(answer.mask, mask))
                    hits.append(view.truth.hit(phrase, answer.points, width, height))
                    losses.append(_log_loss(levels[answer.level], mask))
        presence = fmean(fmean(found) for found in said.values() if found)
        return Score(fmean(ious), fmean(hits), presence, fmean(loss for loss in losses if math.isfinite(loss)))


def _log_loss(relevancy: Float[Tensor, "h w"], mask: Tensor) -> float:
    sure = relevancy.clamp(1e-6, 1 - 1e-6)
    return float(-(sure[mask].log().mean() + (1 - sure[~mask]).log().mean()) / 2)


def _best(trial: _Trial, views: Sequence[_View], start: _Choice) -> _Choice:
    """The choice of the highest mIoU in `views`: the temperature, then single changes of the negatives while they help."""
    best, score = start, trial(start, views)
    for _ in tqdm(range(ROUNDS), desc="rounds"):
        others = [_Choice(temperature, best.negatives) for temperature in TEMPERATURES if temperature != best.temperature]
        if len(best.negatives) > 1:
            others += [_Choice(best.temperature, tuple(n for n in best.negatives if n != out)) for out in best.negatives]
        others += [_Choice(best.temperature, (*best.negatives, word)) for word in trial.words if word not in best.negatives]
        scored = [(trial(choice, views), choice) for choice in others]
        found, choice = max(scored, key=lambda pair: (pair[0].miou, -pair[0].log_loss))
        if found.miou < score.miou + WORTH:
            break
        best, score = choice, found
        log.info("mIoU %.3f with temperature %g, negatives %s", score.miou, best.temperature, ", ".join(best.negatives))
    return best


def _table(figures: dict[str, dict[str, Score]], before: _Choice, chosen: _Choice) -> str:
    choices = {"before": before, "chosen": chosen}
    rows = [
        [part, f"{choices[name].temperature:g}", ", ".join(choices[name].negatives)]
        + [f"{100 * value:.1f}" for value in (score.miou, score.localization, score.presence)]
        + [f"{score.log_loss:.3f}"]
        for part, scores in figures.items()
        for name, score in scores.items()
    ]
    return table(["", "temperature", "negatives", "mIoU %", "localisation %", "presence %", "log loss"], rows)


if __name__ == "__main__":
    command_line.run(calibrate, CalibrationConfig)
