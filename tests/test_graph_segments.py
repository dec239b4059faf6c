"""The graph segmenter: nested partitions that find the objects and parts of worlds it was not fitted on."""

import numpy as np
import pytest

from bundled.train_segmenter import Sample, best_overlaps, samples
from features.graph_segments import graph_segments
from features.region_graph import RegionGraph, to_lab


@pytest.fixture(scope="module")
def seen() -> tuple[Sample, dict[str, np.ndarray]]:
    sample = samples(320, 1, views=1)[0]
    return sample, graph_segments(sample.image)


def test_levels_are_nested_partitions(seen):
    sample, levels = seen
    assert list(levels) == ["s", "m", "l"]
    for ids in levels.values():
        assert ids.shape == sample.parts.shape and ids.dtype == np.int32
        assert np.array_equal(np.unique(ids), np.arange(ids.max() + 1))
    assert levels["s"].max() > levels["m"].max() > levels["l"].max()
    for fine, coarse in (("s", "m"), ("m", "l")):
        pairs = np.unique(np.stack([levels[fine].ravel(), levels[coarse].ravel()]), axis=1)
        assert len(pairs[0]) == levels[fine].max() + 1  # each fine segment lies in exactly one coarse one


def test_objects_and_parts_of_an_unseen_world_are_found(seen):
    sample, levels = seen
    overlaps = best_overlaps(sample, levels, smallest=460)
    # over ten unseen views the means are 0.85 and 0.85; one view strays from that
    assert np.mean(overlaps["wholes"]) > 0.7
    assert np.mean(overlaps["parts"]) > 0.7


def test_two_colors_are_two_regions():
    image = np.full((60, 80, 3), (40, 90, 200), np.uint8)
    image[20:40, 30:60] = (220, 40, 30)
    levels = graph_segments(image)
    inside = levels["m"][30, 45]
    found = levels["m"] == inside
    truth = np.zeros((60, 80), bool)
    truth[20:40, 30:60] = True
    assert (found & truth).sum() / (found | truth).sum() > 0.95  # the blur before the first regions rounds the corners


def test_an_even_image_is_one_segment():
    levels = graph_segments(np.full((40, 50, 3), 128, np.uint8))
    assert all(ids.max() == 0 for ids in levels.values())


def test_merged_sums_equal_those_of_the_merged_map():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    labels = (np.arange(30)[:, None] // 10 * 4 + np.arange(40) // 10).astype(np.int32)
    graph = RegionGraph(to_lab(image), labels)
    graph.merge(5, 6)
    graph.merge(5, 1)
    relabelled = graph.roots()[labels]
    fresh = RegionGraph(to_lab(image), relabelled)
    i = relabelled[15, 15]
    for name in ("size", "sums", "squares", "histogram", "place", "frame", "border", "box"):
        assert np.allclose(getattr(graph, name)[5], getattr(fresh, name)[i]), name
    others = sorted(graph.neighbours[5])
    same = [int(relabelled[labels == j][0]) for j in others]
    assert np.allclose(graph.features(5, others), fresh.features(int(i), same), atol=1e-5)
