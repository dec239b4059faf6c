"""Groups of Gaussians, thresholds and boxes, without a model."""

import math

import numpy as np
import pytest

from query.objects.boxes import axis_aligned, oriented
from query.objects.instances import connected_groups, find_instances, threshold_of


def test_a_turned_box_follows_the_object():
    generator = np.random.default_rng(1)
    angle = math.radians(30)
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    points = (generator.uniform(-0.5, 0.5, (4000, 3)) * [4.0, 1.0, 2.0]) @ turn.T + [5, 6, 7]
    for upright in (True, False):
        box = oriented(points, upright)
        np.testing.assert_allclose(sorted(box.size), [1.0, 2.0, 4.0], rtol=0.04)  # 2 % of the points lie outside on purpose
        np.testing.assert_allclose(box.center, [5, 6, 7], atol=0.05)
        np.testing.assert_allclose(np.linalg.det(box.axes), 1.0, atol=1e-6)
    assert np.prod(np.subtract(axis_aligned(points).max, axis_aligned(points).min)) > 1.5 * np.prod(box.size)


def _blobs(*offsets, count=200, seed=2):
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.uniform(0, 1, (count, 3)) + [offset, 0, 0] for offset in offsets])


def test_groups_part_where_there_is_a_gap():
    groups = connected_groups(_blobs(0.0, 2.0), np.full((400, 3), 0.05))
    assert len(set(groups[:200])) == 1 and len(set(groups[200:])) == 1 and groups[0] != groups[200]


def test_large_gaussians_on_a_flat_face_belong_to_the_dense_edge_they_touch():
    edge = _blobs(0.0)
    face = np.array([[2.2 + 1.5 * i, 0.5, 0.5] for i in range(4)])  # further apart than anything in the edge
    means, scales = np.concatenate([edge, face]), np.full((204, 3), 0.05)
    assert len(set(connected_groups(means, scales))) > 1
    scales[200:, 0] = 1.2
    assert len(set(connected_groups(means, scales))) == 1


def test_instances_are_ordered_by_how_well_and_how_much_they_answer():
    relevancy = np.repeat([0.6, 0.9], 100)
    found = find_instances(relevancy, 0.5, 0.5, 10, _blobs(0.0, 5.0, count=100), np.full((200, 3), 0.05), np.ones(200))
    assert [round(one.score, 3) for one in found] == [0.9, 0.6] and found[0].members[0] == 100


def test_an_instance_grows_into_lower_relevancy_it_is_connected_with():
    means = _blobs(0.0, 1.0, 5.0)  # the first two touch
    relevancy = np.repeat([0.8, 0.4, 0.4], 200)
    options = {"means": means, "scales": np.full((600, 3), 0.05), "opacities": np.ones(600)}
    (grown,) = find_instances(relevancy, 0.5, 0.35, 20, **options)
    assert grown.members.tolist() == list(range(400)) and grown.score == pytest.approx(0.8)
    (strict,) = find_instances(relevancy, 0.5, 0.5, 20, **options)
    assert strict.members.tolist() == list(range(200))
    assert find_instances(relevancy, 0.5, 0.35, 201, **options) == []  # growing makes no instance of a small group


def test_threshold_rules():
    relevancy = np.concatenate([np.full(90, 0.2), np.full(10, 0.4)])

    def count(rule, value):
        return (relevancy > threshold_of(relevancy, rule, value)).sum()

    assert count("fixed", 0.5) == 0
    assert count("relative", 0.5) == count("relative", 0.35) == 10  # never below the median, however much an instance grows
    assert count("otsu", 0.1) == 10
    assert count("otsu", 0.5) == 0  # an absent phrase selects nothing
