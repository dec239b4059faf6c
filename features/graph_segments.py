"""Segments at three nested levels from a region graph: no weights to download, about a second per image.

Felzenszwalb and Huttenlocher's graph segmentation (skimage) gives small regions. Neighbours are then merged greedily, best pair
first, by the probability that they are one part, and after that one whole. The two probabilities come from a perceptron over
twenty border and region measures (`RegionGraph.features`), fitted on toy worlds by `bundled/train_segmenter.py`.
"""

from functools import cache

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from skimage.segmentation import felzenszwalb

from features.region_graph import RegionGraph, to_lab
from workspace import ASSETS

WEIGHTS = ASSETS / "graph_merge.npz"
SCALE, BLUR, SMALLEST_REGION = 100.0, 0.5, 20  # of the initial regions; Lab is divided by 50
PIECE, PART, WHOLE = 0.9, 0.7, 0.5  # minimum probability of a merge at s, m (same part) and l (same object)
SETTINGS = {"merge_above": [PIECE, PART, WHOLE]}  # for the record: folders must not mix segments of other thresholds


class MergeModel:
    """Probability that two neighbouring regions are of one part, and of one whole."""

    def __init__(self, weights: dict[str, Float32[np.ndarray, "..."]]) -> None:
        self.weights = weights

    def __call__(self, features: Float32[np.ndarray, "k f"]) -> Float32[np.ndarray, "k 2"]:
        """(part, whole) probabilities of rows of `RegionGraph.features`."""
        w = self.weights
        hidden = np.maximum((features - w["mean"]) / w["deviation"] @ w["first"] + w["first_bias"], 0)
        return 1 / (1 + np.exp(-(hidden @ w["second"] + w["second_bias"])))

    def part(self, features: Float32[np.ndarray, "k f"]) -> Float32[np.ndarray, " k"]:
        """Probability of one part."""
        return self(features)[:, 0]

    def whole(self, features: Float32[np.ndarray, "k f"]) -> Float32[np.ndarray, " k"]:
        """Probability of one whole."""
        return self(features)[:, 1]


@cache
def _model() -> MergeModel:
    with np.load(WEIGHTS, allow_pickle=False) as file:
        return MergeModel(dict(file))


def first_regions(lab: Float32[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"]:
    """Labels of small regions of uniform colour, from 0."""
    return felzenszwalb(lab / 50, scale=SCALE, sigma=BLUR, min_size=SMALLEST_REGION, channel_axis=-1).astype(np.int32)


def graph_segments(image: UInt8[np.ndarray, "h w 3"]) -> dict[str, Int32[np.ndarray, "h w"]]:
    """Nested segment ids of every pixel at the levels s (uniform pieces), m (parts), l (wholes), each from 0."""
    lab = to_lab(image)
    labels = first_regions(lab)
    graph, model = RegionGraph(lab, labels), _model()
    levels = {}
    for level, score, threshold in (("s", model.part, PIECE), ("m", model.part, PART), ("l", model.whole, WHOLE)):
        graph.merge_while(score, threshold)
        levels[level] = graph.roots()[labels]
    return levels
