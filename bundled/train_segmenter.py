"""Fit the merge probabilities of the graph segmenter on toy worlds: `python -m bundled.train_segmenter`.

The training set is every pair of regions that was scored during merging, first by an oracle and then by the model of each
round. A pair is labelled by the part and the object that each of its regions overlaps most.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8

from features.graph_segments import PART, WEIGHTS, WHOLE, MergeModel, first_regions, graph_segments
from features.region_graph import NUM_FEATURES, RegionGraph, to_lab
from toy_world.compose import cameras, compose
from toy_world.render import Renderer
from workspace import atomic, command_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainGraphConfig:
    """Fitting of the graph segmenter."""

    worlds: int = 16
    """Toy worlds to learn from, two views each; the next four measure the result."""
    first_seed: int = 200
    """Seed of the first world; the demo's is 0."""
    rounds: int = 3
    """Rounds of merging with the model and fitting it again on the pairs that it scored."""
    hidden: int = 32
    """Width of the perceptron."""
    epochs: int = 30
    """Passes over the samples in each round."""
    output: Path = WEIGHTS
    """File to write."""


@dataclass(frozen=True)
class Sample:
    """An image with the part of each pixel and the whole of each part."""

    image: UInt8[np.ndarray, "h w 3"]
    parts: Int[np.ndarray, "h w"]
    wholes: Int[np.ndarray, " p"]


class RecordedGraph(RegionGraph):
    """A region graph that records every pair whose features are requested, with the ground truth."""

    def __init__(self, sample: Sample) -> None:
        lab = to_lab(sample.image)
        labels = first_regions(lab)
        super().__init__(lab, labels)
        self.counts = np.zeros((len(self.size), len(sample.wholes)))
        np.add.at(self.counts, (labels.ravel(), sample.parts.ravel()), 1)
        self.wholes = sample.wholes
        self.seen: list[np.ndarray] = []

    def merge(self, i: int, j: int) -> None:
        """Merge regions and their ground truth."""
        super().merge(i, j)
        self.counts[i] += self.counts[j]

    def features(self, i: int, others: list[int]) -> Float[np.ndarray, "k f"]:
        """Features with ground truth appended (same part, same object, weight of the pair); the rows are recorded."""
        features = super().features(i, others)
        parts, part = self.counts[others].argmax(1), self.counts[i].argmax()
        weight = np.sqrt(np.minimum(self.size[i], self.size[others]))
        truth = np.stack([parts == part, self.wholes[parts] == self.wholes[part], weight], 1)
        rows = np.concatenate([features, truth], 1).astype(np.float32)
        self.seen.append(rows)
        return rows


def samples(first: int, count: int, views: int = 2) -> list[Sample]:
    """`views` random views of each of `count` worlds."""
    found = []
    for seed in range(first, first + count):
        world = compose(seed)
        renderer, shots = Renderer(world, detail=0.4), cameras(seed, 72, 640, 480)
        for k in np.random.default_rng(seed).choice(len(shots), views, replace=False):
            picture = renderer.render(shots[k])
            found.append(Sample(picture.image, picture.parts, np.array([i for i, _ in world.parts])))
    return found


def record(sample: Sample, model: MergeModel | None) -> Float[np.ndarray, "k f"]:
    """Pairs scored while merging by the model, or by an oracle that prefers low-contrast borders."""
    graph = RecordedGraph(sample)

    def score(column: int, rows: Float[np.ndarray, " k f"]) -> Float[np.ndarray, " k"]:
        if model is not None:
            return model(rows[:, :NUM_FEATURES])[:, column]
        return rows[:, NUM_FEATURES + column] * np.exp(-rows[:, 3] - rows[:, 4])

    graph.merge_while(lambda rows: score(0, rows), PART if model else 1e-6)
    graph.merge_while(lambda rows: score(1, rows), WHOLE if model else 1e-6)
    return np.concatenate(graph.seen)


def fit(rows: Float[np.ndarray, "k f"], hidden: int, epochs: int) -> MergeModel:
    """Fit the perceptron of the two probabilities by weighted cross-entropy."""
    torch.manual_seed(0)
    x = torch.from_numpy(rows[:, :NUM_FEATURES])
    target, weight = torch.from_numpy(rows[:, NUM_FEATURES : NUM_FEATURES + 2]), torch.from_numpy(rows[:, -1:])
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x = (x - mean) / deviation
    layers = torch.nn.Sequential(torch.nn.Linear(NUM_FEATURES, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=5e-3, weight_decay=1e-3)
    batch = 2048
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * (len(x) // batch + 1))
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(batch):
            loss = F.binary_cross_entropy_with_logits(layers(x[chosen]), target[chosen], weight[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    names = ("first", "first_bias", "second", "second_bias")
    weights = {name: p.detach().numpy().T.copy() for name, p in zip(names, layers.parameters(), strict=True)}
    return MergeModel({"mean": mean.numpy(), "deviation": deviation.numpy(), **weights})


def best_overlaps(sample: Sample, levels: dict[str, Int[np.ndarray, "h w"]], smallest: int) -> dict[str, list[float]]:
    """Best IoU over all segments of all levels for each object and each part of `smallest` pixels or more."""
    wholes = sample.wholes[sample.parts]
    overlaps: dict[str, list[float]] = {"wholes": [], "parts": []}
    for name, truth in (("wholes", wholes), ("parts", sample.parts)):
        for index in np.unique(truth):
            mask = truth == index
            if mask.sum() >= smallest:
                overlaps[name].append(max(_best(mask, level) for level in levels.values()))
    return overlaps


def _best(mask: np.ndarray, level: Int[np.ndarray, "h w"]) -> float:
    area, inside = np.bincount(level.ravel()), np.bincount(level[mask], minlength=level.max() + 1)
    return float((inside / (area + mask.sum() - inside)).max())


def main(config: TrainGraphConfig) -> None:
    """Fit the graph segmenter's merge probabilities on toy worlds and measure it on others."""
    train, test = samples(config.first_seed, config.worlds), samples(config.first_seed + config.worlds, 4)
    rows = np.concatenate([record(sample, None) for sample in train])
    model = fit(rows, config.hidden, config.epochs)
    for _ in range(config.rounds):
        rows = np.concatenate([rows, *(record(sample, model) for sample in train)])
        model = fit(rows, config.hidden, config.epochs)
        log.info("%d pairs", len(rows))
    with atomic(config.output) as temporary, temporary.open("wb") as file:
        np.savez(file, **model.weights)
    overlaps: dict[str, list[float]] = {"wholes": [], "parts": []}
    for sample in test:
        for name, values in best_overlaps(sample, graph_segments(sample.image), 460).items():
            overlaps[name] += values
    for name, values in overlaps.items():
        log.info("%s: best IoU %.3f, above 0.5 %.3f, of %d", name, np.mean(values), np.mean(np.array(values) > 0.5), len(values))


if __name__ == "__main__":
    command_line.run(main, TrainGraphConfig)
