"""What is at a pixel of a view: the position on the surface, the Gaussians there, their instance and the phrases that fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from diff_gaussian_rasterization import PreparedView
from jaxtyping import Float, Int

from gaussian_renderer import prepare_view
from query.objects.finding import FoundPhrase
from query.objects.instances import Instance
from query.question import Question
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from workspace import InputError

EMPTY = 0.1  # alpha below which a pixel shows nothing: haze of faint Gaussians has no position


@dataclass(frozen=True)
class Click:
    """The surface behind a pixel."""

    pixel: tuple[int, int]
    """Column and row."""
    position: tuple[float, float, float]
    """In scene coordinates, on the ray through the centre of the pixel."""
    depth: float
    """Along the optical axis, world units: where half of the pixel's opacity is reached, front to back."""
    alpha: float
    """Opacity of the pixel, in (0, 1]."""
    gaussians: Int[np.ndarray, " k"]
    """Indices of the Gaussians that the pixel shows, largest blending weight first."""
    weights: Float[np.ndarray, " k"]
    """Their blending weights, > 0; the sum is `alpha`."""


@dataclass(frozen=True)
class PhraseScore:
    """How well one phrase fits what a click hit."""

    phrase: str
    score: float
    """Relevancy in (0, 1), the mean over the Gaussians by blending weight; above 0.5 the phrase beats every negative."""
    level: str


def click(camera: Camera, gaussians: GaussianModel, x: int, y: int, prepared: PreparedView | None = None) -> Click | None:
    """The surface at pixel (x, y) of a view; None where there is nothing.

    `prepared` is the same view of the same Gaussians, for a caller that already has it.

    Raises:
        InputError: the pixel is outside the view, or no pixel.
    """
    if not (isinstance(x, Integral) and isinstance(y, Integral)):
        raise InputError(f"Pixel {x}, {y}: expected whole numbers, column and row.")
    if not (0 <= x < camera.width and 0 <= y < camera.height):
        raise InputError(f"Pixel {x}, {y} is outside the view of {camera.width}x{camera.height} pixels.")
    prepared = prepare_view(camera, gaussians) if prepared is None else prepared
    label = torch.full((1, camera.height, camera.width), -1, dtype=torch.int32, device=gaussians.means.device)
    label[0, y, x] = 0
    rows = prepared.lift(label).levels[0]
    weights = rows.weights.double().cpu().numpy()
    alpha = float(weights.sum())
    if alpha < EMPTY:
        return None
    means = gaussians.means[rows.gaussians].double().cpu().numpy()
    depths = means @ camera.world_to_camera[2, :3] + camera.world_to_camera[2, 3]
    front_to_back = np.argsort(depths, kind="stable")
    reached = np.cumsum(weights[front_to_back])
    depth = float(depths[front_to_back[np.searchsorted(reached, alpha / 2)]])
    order = np.argsort(-weights, kind="stable")
    indices = rows.gaussians.cpu().numpy()
    position = _unprojected(camera, x + 0.5, y + 0.5, depth)
    return Click((x, y), position, depth, min(alpha, 1.0), indices[order], weights[order])


def clicked_instance(clicked: Click, found: Sequence[FoundPhrase]) -> tuple[FoundPhrase, int, Instance] | None:
    """The instance that covers most of the pixel, with its phrase and its number from 1; None when less than half of the
    pixel's opacity is of any one."""
    best, largest = None, clicked.alpha / 2
    for answer in found:
        for number, instance in enumerate(answer.instances, 1):
            weight = float(clicked.weights[np.isin(clicked.gaussians, instance.members)].sum())
            if weight > largest:
                best, largest = (answer, number, instance), weight
    return best


def best_phrases(clicked: Click, question: Question, count: int | None = None) -> list[PhraseScore]:
    """The phrases of `question` by how well they fit the clicked Gaussians, best first, each at its best level.

    Gaussians without an embedding at a level are left out of its mean.
    """
    rows = torch.from_numpy(clicked.gaussians).to(question.embeddings.device)
    weights = torch.from_numpy(clicked.weights).to(question.embeddings)[:, None] * question.field.known[rows]
    relevancy = (weights[..., None] * question.gaussian_relevancy[rows]).sum(0) / weights.sum(0)[:, None].clamp_min(1e-12)
    scores, levels = (found.tolist() for found in relevancy.max(0))
    ranked = [
        PhraseScore(phrase, score, question.field.levels[level])
        for phrase, score, level in zip(question.phrases, scores, levels, strict=True)
    ]
    return sorted(ranked, key=lambda one: -one.score)[:count]


def _unprojected(camera: Camera, column: float, row: float, depth: float) -> tuple[float, float, float]:
    seen = np.array([(column - camera.cx) / camera.fx * depth, (row - camera.cy) / camera.fy * depth, depth])
    world = camera.world_to_camera[:3, :3].T @ (seen - camera.world_to_camera[:3, 3])
    return tuple(map(float, world))
