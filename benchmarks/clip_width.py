"""Published field against lifted field at the width and with the statistics of CLIP's embeddings, on a generated world.

    python -m benchmarks.clip_width -s output/demo/scene -m output/demo

The bundled encoder has 64 numbers. Here every segment of a toy world gets one of 512 by what it truly shows: a component that all
pictures share, a direction of its objects and parts, and noise that differs from view to view. Phrases point a little in the
direction of what they name and otherwise away from all pictures, as CLIP's do. The cosines that result are printed.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from evaluation.catalogue import PROTOCOLS
from evaluation.judging import judge
from evaluation.protocol import read_labels
from evaluation.rules import rule
from evaluation.scores import summary
from features.registry import open_store
from features.segment_store import SegmentStore
from query.asking import answer_view
from query.field import LanguageField, Negatives
from query.loading import load_field
from query.question import Question
from query.tables import table
from query.views import choose_views
from training.language import LanguageTrainConfig, train_language
from workspace import ModelFolder, SceneFolder, command_line, read_json, save_array
from workspace.clock import Clock
from workspace.device import Device, chosen_device

WIDTH = 512
PICTURE = {"shared": 0.55, "concept": 0.30, "noise": 0.15}  # squared lengths; unrelated segments have a cosine near 0.55
TEXT = {"shared": 0.07, "concept": 0.035, "text": 0.895}
OBJECT = 0.7  # share of a concept that the parts of an object have in common
FIELDS: Mapping[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "autoencoder 3, --preset fast": ("published", {}, {"preset": "fast"}),
    "codebook, lifted": ("lifted", {"method": "codebook"}, {}),
    "the same, one code of a Gaussian": ("lifted", {"method": "codebook"}, {"codes_per_gaussian": 1, "overwrite": True}),
    "the same, four": ("lifted", {"method": "codebook"}, {"codes_per_gaussian": 4, "overwrite": True}),
}


@dataclass(frozen=True)
class ClipWidthConfig:
    """A toy world with segments and trained Gaussians, as the demo leaves them. Neither folder is changed."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder of the world."""
    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder with Gaussians trained with --eval."""
    seed: int = 0
    """Seed of the embeddings."""
    device: Device = "auto"
    """Where to compute."""


class Concepts:
    """Directions of a world's objects and parts in the space of the embeddings."""

    def __init__(self, scene: SceneFolder, seed: int):
        record = read_json(scene.part_ids / "parts.json")
        self._generator = torch.Generator().manual_seed(seed)
        objects = torch.tensor([row["object"] for row in record["parts"]])
        self._parts = OBJECT**0.5 * self._units(int(objects.max()) + 1)[objects] + (1 - OBJECT) ** 0.5 * self._units(len(objects))
        self._shared, self._text = self._units(2)
        self.phrases: dict[str, list[int]] = record["phrases"]

    def pictures(self, areas: Float[Tensor, "m parts"]) -> Float[Tensor, "m d"]:
        """Embeddings of segments that cover `areas` of the parts."""
        return self._mixed(PICTURE, shared=self._shared, concept=F.normalize(areas @ self._parts), noise=self._units(len(areas)))

    def texts(self, phrases: tuple[str, ...]) -> Float[Tensor, "p d"]:
        """Embeddings of the world's phrases."""
        named = torch.stack([self._parts[self.phrases[phrase]].sum(0) for phrase in phrases])
        return self._mixed(TEXT, shared=self._shared, concept=F.normalize(named), text=self._text)

    def negatives(self, count: int) -> Float[Tensor, "p d"]:
        """Embeddings of phrases that name nothing in the world."""
        return self._mixed(TEXT, shared=self._shared, concept=self._units(count), text=self._text)

    def _mixed(self, squares: Mapping[str, float], **directions: Tensor) -> Tensor:
        return F.normalize(sum(squares[name] ** 0.5 * direction for name, direction in directions.items()), dim=1)

    def _units(self, count: int) -> Float[Tensor, "count d"]:
        return F.normalize(torch.randn(count, WIDTH, generator=self._generator), dim=1)


def main(config: ClipWidthConfig) -> None:
    """Train both fields on the synthetic embeddings and ask them the world's phrases."""
    original, concepts = SceneFolder(config.source_path), Concepts(SceneFolder(config.source_path), config.seed)
    with tempfile.TemporaryDirectory() as folder:
        scene, model = SceneFolder(Path(folder) / "scene"), Path(folder) / "model"
        shutil.copytree(original.root, scene.root)
        shutil.copytree(config.model_path / "point_cloud", model / "point_cloud")
        for file in config.model_path.glob("*.json"):
            shutil.copy(file, model)
        areas = _rewrite(scene, concepts)
        phrases = tuple(concepts.phrases)
        texts, negatives = concepts.texts(phrases), concepts.negatives(4)
        print("\n".join(_statistics(scene, areas, concepts, texts)))
        rows = []
        for name, (field, compressor, language) in FIELDS.items():
            began = time.perf_counter()
            train_autoencoder(AutoencoderConfig(scene.root, model, seed=config.seed, device=config.device, **compressor))
            middle = time.perf_counter()
            train_language(LanguageTrainConfig(scene.root, model, field=field, device=config.device, **language))
            ended = time.perf_counter()
            loaded = load_field(ModelFolder(model, field), chosen_device(config.device))
            figures, per_view = _asked(scene, loaded, phrases, texts, negatives)
            percent = [f"{100 * figures[key]:.1f}" for key in ("localization_accuracy", "miou")]
            rows.append([name, *percent, f"{middle - began:.1f}", f"{ended - middle:.1f}", f"{per_view:.2f}"])
        print(f"{figures['queries']} pairs of phrase and held-out view, {len(loaded.trained.gaussians)} Gaussians")
        print(table(["field", "localisation", "mIoU", "compressor, s", "field, s", "a view, s"], rows))


def _rewrite(scene: SceneFolder, concepts: Concepts) -> dict[str, Float[Tensor, "m parts"]]:
    """Replace the embeddings of every image; returns the pixels of every part in each of its segments."""
    store, areas = SegmentStore(scene, open_store(scene).settings), {}
    count = len(read_json(scene.part_ids / "parts.json")["parts"])
    for key in store.keys():
        segments = store.read(key)
        height, width = segments.maps.shape[1:]
        with Image.open(scene.part_ids / f"{key}.png") as image:
            parts = np.asarray(image.resize((width, height), Image.Resampling.NEAREST)).astype(np.int64)
        inside = segments.maps >= 0
        pairs = (segments.maps.astype(np.int64) * count + parts)[inside]
        found = np.bincount(pairs, minlength=len(segments.embeddings) * count).reshape(-1, count)
        areas[key] = torch.from_numpy(found.astype(np.float32))
        save_array(scene.segment_embeddings(key), concepts.pictures(areas[key]).numpy())
    return areas


def _statistics(scene: SceneFolder, areas: Mapping[str, Tensor], concepts: Concepts, texts: Tensor) -> Iterator[str]:
    """Mean cosines between embeddings, each segment taken for the part that it shows most of."""
    store = open_store(scene)
    keys = list(areas)
    rows = torch.cat([torch.from_numpy(store.embeddings(key)) for key in keys])
    parts = torch.cat([areas[key].argmax(1) for key in keys])
    view = torch.cat([torch.full((len(areas[key]),), index) for index, key in enumerate(keys)])
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:3000]
    cosines, same = rows[chosen] @ rows[chosen].T, parts[chosen, None] == parts[chosen]
    other_view = view[chosen, None] != view[chosen]
    named = torch.stack([torch.isin(parts, torch.tensor(ids)) for ids in concepts.phrases.values()], 1)
    with_text = rows @ texts.T
    yield f"segments of other parts: mean cosine {cosines[~same].mean():.2f}"
    yield f"segments of the same part in other views: {cosines[same & other_view].mean():.2f}"
    yield f"a phrase and what it names: {with_text[named].mean():.2f}; and anything else: {with_text[~named].mean():.2f}"


def _asked(
    scene: SceneFolder, field: LanguageField, phrases: tuple[str, ...], texts: Tensor, negatives: Tensor
) -> tuple[dict[str, float], float]:
    """Figures on the held-out views, and seconds per view."""
    device = field.trained.gaussians.means.device
    cameras = field.trained.scene(scene.root)
    labels = read_labels(scene.labels, PROTOCOLS["lerf_ovs"], cameras)
    question = Question(field, phrases, texts.to(device), Negatives(field, negatives.to(device)))
    views = [view for view in choose_views(cameras, "test") if view.name in labels.truths]
    clock, rows = Clock(device), []
    for view in views:
        truth = labels.truths[view.name]
        judged, _ = judge(answer_view(question, view, tuple(truth.phrases), rule("langsplat"), clock), truth)
        rows += judged.values()
    return summary(rows), sum(clock.seconds.values()) / len(views)


if __name__ == "__main__":
    command_line.run(main, ClipWidthConfig)
