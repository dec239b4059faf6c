"""Patch features of single photographs against the same features lifted from many views, on a generated scene with exact truth.

    python -m benchmarks.lifted_patches [--folder output/benchmarks/lifted_patches] [--width 640] [--height 480]

In every held-out view, the patch tokens of the photograph itself (enlarged bilinearly) and the field lifted from the other views
answer the same phrases by the same rule. `sharpness` is the contrast of relevancy over the 3 pixels on either side of the true
outlines, divided by the contrast between the whole object and what surrounds it within 24 pixels: 1 is a step at the outline.
A stopped run continues. The picture is written beside the scene.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.extractors import command
from evaluation.catalogue import PROTOCOLS
from evaluation.overlap import intersection_over_union
from evaluation.protocol import read_labels
from features.registry import open_store
from query.answer_rule import answer
from query.relevancy import relevancy
from query.session import Session, SessionConfig
from query.tables import table
from scene.photographs import load_image
from workspace import ModelFolder, SceneFolder, command_line

NEAR, AROUND = 3, 24  # pixels
KINDS = ("photograph", "lifted")


@dataclass(frozen=True)
class LiftedPatchesConfig:
    """Which scene."""

    folder: Path = Path("output/benchmarks/lifted_patches")
    """Where scene and model are kept; a scene/ and a model/ with Gaussians that are there are used."""
    seed: int = 0
    """Of the generated scene."""
    width: int = 640
    """Of its photographs."""
    height: int = 480
    """Of its photographs."""


def prepare(config: LiftedPatchesConfig) -> tuple[SceneFolder, ModelFolder]:
    """The scene, and a model whose field is the lift of 64 principal components, without optimisation."""
    scene, model = SceneFolder(config.folder / "scene"), ModelFolder(config.folder / "model", "patches")
    if not scene.images.is_dir():
        command(f"-m toy_world -s {scene.root} --seed {config.seed} --width {config.width} --height {config.height}")
    command(f"preprocess.py -s {scene.root} --features mini_dense")
    if not model.point_clouds.is_dir():
        command(f"train.py -s {scene.root} -m {model.root} --eval --preset fast")
    flags = f"-s {scene.root} -m {model.root} --field patches"
    command(f"train_autoencoder.py {flags} --features mini_dense --method pca --code_width 64")
    command(f"train.py {flags} --include_feature --init lift --iterations 0")
    return scene, model


@dataclass
class Sums:
    """Measures of one kind of features, summed over phrases and views."""

    ious: list[float]
    hits: list[bool]
    near: float = 0.0
    """Contrast next to the outlines."""
    whole: float = 0.0
    """Contrast of the objects with their surroundings."""


@torch.inference_mode()
def compare(scene: SceneFolder, model: ModelFolder) -> dict[str, Sums]:
    """Both kinds of features in every labelled held-out view."""
    session = Session.open(SessionConfig(field=model.field, device="cpu"), model)
    store, labels = open_store(scene, "mini_dense"), read_labels(scene.labels, PROTOCOLS["lerf_ovs"], session.scene)
    question = session.question(labels.phrases)
    found = {kind: Sums([], []) for kind in KINDS}
    pictures: list[np.ndarray] = []
    for camera in session.scene.test:
        if camera.name not in labels.truths:
            continue
        truth, view = labels.truths[camera.name], session.field.view(camera)
        size = (camera.height, camera.width)
        tokens = _enlarged(torch.from_numpy(store.embeddings(camera.name)).float(), size)
        negatives = question.negatives
        maps = {
            "photograph": relevancy(tokens, question.embeddings, negatives.embeddings, negatives.temperature)[None],
            "lifted": question.relevancy(view),
        }
        for index, phrase in enumerate(question.phrases):
            if phrase not in truth.phrases:
                continue
            mask = truth.mask(phrase, camera.width, camera.height)
            for kind, levels in maps.items():
                one, sums = answer(levels[:, index]), found[kind]
                sums.ious.append(intersection_over_union(one.mask, torch.from_numpy(mask)))
                sums.hits.append(truth.hit(phrase, one.points, camera.width, camera.height))
                near, whole = _contrasts(levels[0, index].numpy(), mask)
                sums.near, sums.whole = sums.near + near, sums.whole + whole
        if not pictures:
            basis = torch.pca_lowrank(tokens.flatten(0, 1), 3)[2]
            decoded = session.field.compressor.decode(view.codes[0].flatten(1).T).unflatten(0, size)
            pictures = [load_image(camera), _colors(tokens, tokens, basis), _colors(decoded, tokens, basis)]
    Image.fromarray(np.concatenate(pictures, 1)).save(scene.root.parent / "lifted_patches.jpg", quality=85)
    return found


def _enlarged(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Unit tokens [height, width, d]."""
    return F.normalize(F.interpolate(tokens.permute(2, 0, 1)[None], size, mode="bilinear")[0].permute(1, 2, 0), dim=-1)


def _contrasts(values: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Difference of the mean inside and outside `mask`, within NEAR pixels of its outline, and of all within AROUND pixels."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    parts = [mask & (inside <= NEAR), ~mask & (outside <= NEAR), mask, ~mask & (outside <= AROUND)]
    if not all(part.any() for part in parts):
        return 0.0, 0.0
    first, second, third, fourth = (float(values[part].mean()) for part in parts)
    return first - second, third - fourth


def _colors(tokens: Tensor, reference: Tensor, basis: Tensor) -> np.ndarray:
    """Three principal components as colours, the same for both kinds of features."""
    low, high = torch.quantile((reference.flatten(0, 1)[::7] @ basis), torch.tensor([0.02, 0.98]), dim=0)
    return (((tokens @ basis - low) / (high - low)).clamp(0, 1) * 255).byte().numpy()


def main(config: LiftedPatchesConfig) -> None:
    """Print the table."""
    found = compare(*prepare(config))
    rows = [
        [
            kind,
            f"{100 * fmean(sums.ious):.1f}",
            f"{100 * fmean(sums.hits):.1f}",
            f"{sums.near / sums.whole:.2f}",
            str(len(sums.ious)),
        ]
        for kind, sums in found.items()
    ]
    print(f"\n{table(['patch features of', 'mIoU %', 'localisation %', 'sharpness', 'phrases in views'], rows)}")


if __name__ == "__main__":
    command_line.run(main, LiftedPatchesConfig)
