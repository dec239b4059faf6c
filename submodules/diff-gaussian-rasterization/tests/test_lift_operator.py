"""Lifting: sums of blending weights by label, against the float64 reference."""

import pytest
import torch
from cuda_scenes import edge_scenes, make_gaussians, make_view
from diff_gaussian_rasterization import prepare, set_weight_budget
from diff_gaussian_rasterization.kept_weights import DEFAULT_BUDGET
from label_maps import GEOMETRY, assert_same_sums, expected_sums, label_maps


def lifted(view, gaussians, maps, samples="all"):
    return prepare(view, *[gaussians[k] for k in GEOMETRY]).lift(maps, samples)


@pytest.mark.parametrize("samples", ["all", "centre"])
def test_sums_are_those_of_the_reference(samples, instruction_set):
    view, gaussians = make_view(70, 45), make_gaussians(600)
    maps = label_maps(view)
    found = lifted(view, gaussians, maps, samples)
    assert_same_sums(found, expected_sums(view, gaussians, maps, samples))


@pytest.mark.parametrize("name", edge_scenes())
def test_edges(name):
    view, gaussians = edge_scenes()[name]
    maps = label_maps(view)
    assert_same_sums(lifted(view, gaussians, maps), expected_sums(view, gaussians, maps))


def test_float64_is_exact():
    view, gaussians = make_view(), {k: v.double() for k, v in make_gaussians(300).items()}
    maps = label_maps(view)
    found, expected = lifted(view, gaussians, maps), expected_sums(view, gaussians, maps)
    for a, b in zip(found.levels, expected.levels, strict=True):
        assert torch.equal(a.gaussians, b.gaussians) and torch.equal(a.labels, b.labels)
        torch.testing.assert_close(a.weights, b.weights, rtol=1e-11, atol=1e-13)


def test_same_bits_for_any_number_of_threads_and_from_kept_weights():
    view, gaussians = make_view(150, 100), make_gaussians(6000, scale=0.03)
    maps, features = label_maps(view), torch.rand(6000, 3, requires_grad=True)
    prepared = prepare(view, *[gaussians[k] for k in GEOMETRY])
    before = torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            runs.append(prepared.lift(maps))
        set_weight_budget(DEFAULT_BUDGET)
        for _ in range(2):
            prepared.rasterize(features).image.sum().backward()
        assert prepared.kept_nbytes > 0
        runs.append(prepared.lift(maps))
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert torch.equal(runs[0].labelled, other.labelled) and torch.equal(runs[0].unlabelled, other.unlabelled)
        for a, b in zip(runs[0].levels, other.levels, strict=True):
            for name in ("gaussians", "labels", "weights"):
                assert torch.equal(getattr(a, name), getattr(b, name))


def test_totals_are_the_weight_of_each_gaussian_in_the_image():
    view, gaussians = make_view(), make_gaussians(200)
    prepared = prepare(view, *[gaussians[k] for k in GEOMETRY])
    ones = torch.ones(200, 1, requires_grad=True)
    prepared.rasterize(ones).image.sum().backward()
    found = prepared.lift(label_maps(view))
    for labelled, unlabelled in zip(found.labelled, found.unlabelled, strict=True):
        # training rounds each weight to 12 bits
        torch.testing.assert_close(labelled + unlabelled, ones.grad[:, 0], rtol=2**-12, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64])
def test_any_type_of_integers(dtype):
    view, gaussians = make_view(), make_gaussians(60)
    maps = torch.arange(view.height * view.width).reshape(1, view.height, view.width) % 100
    found = lifted(view, gaussians, maps.to(dtype)).levels[0]
    expected = lifted(view, gaussians, maps.int()).levels[0]
    assert torch.equal(found.labels, expected.labels) and torch.equal(found.weights, expected.weights)


def test_every_negative_int64_means_no_label():
    view, gaussians = make_view(), make_gaussians(60)
    for nothing in (-(2**32), torch.iinfo(torch.int64).min):  # the low 32 bits of both are those of label 0
        found = lifted(view, gaussians, torch.full((1, view.height, view.width), nothing))
        assert len(found.levels[0].labels) == 0 and (found.labelled == 0).all() and found.unlabelled.sum() > 0


def test_hundreds_of_labels_in_any_order_under_one_gaussian():
    view, gaussians = make_view(64, 48), {k: v.double() for k, v in make_gaussians(4, scale=3.0).items()}
    maps = torch.stack([torch.randperm(64 * 48, generator=torch.Generator().manual_seed(k)).reshape(48, 64) for k in range(2)])
    found, expected = lifted(view, gaussians, maps - 9), expected_sums(view, gaussians, maps - 9)
    for a, b in zip(found.levels, expected.levels, strict=True):
        assert len(a.labels) > 2000 and torch.equal(a.gaussians, b.gaussians) and torch.equal(a.labels, b.labels)
        torch.testing.assert_close(a.weights, b.weights, rtol=1e-11, atol=1e-13)


def test_nothing_seen_and_nothing_labelled():
    view = make_view()
    nobody = lifted(view, make_gaussians(0), label_maps(view))
    assert nobody.labelled.shape == (3, 0) and all(len(level.labels) == 0 for level in nobody.levels)
    unlabelled = lifted(view, make_gaussians(50), torch.full((1, view.height, view.width), -1))
    assert len(unlabelled.levels[0].labels) == 0 and (unlabelled.labelled == 0).all() and unlabelled.unlabelled.sum() > 0


def test_a_mask_of_one_label_finds_the_gaussians_in_front():
    view, gaussians = make_view(32, 32), make_gaussians(2, scale=0.2)
    gaussians["means"] = torch.tensor([[0, 0, 2.0], [0, 0, 4.0]])  # the first hides the second
    gaussians["opacities"] = torch.tensor([1.0, 1.0])
    level = lifted(view, gaussians, torch.zeros(1, 32, 32, dtype=torch.int32)).levels[0]
    assert level.gaussians.tolist() == [0, 1] and level.labels.tolist() == [0, 0]
    assert level.weights[0] > 10 * level.weights[1]


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        (torch.zeros(37, 40, dtype=torch.int32), ValueError, r"label_maps must have shape \[L, 37, 40\].*found \[37, 40\]"),
        (torch.zeros(1, 40, 37, dtype=torch.int32), ValueError, r"\[L, 37, 40\].*found \[1, 40, 37\]"),
        (torch.zeros(0, 37, 40, dtype=torch.int32), ValueError, "L at least 1"),
        (torch.zeros(1, 37, 40), TypeError, "label_maps must hold integers, -1 for no label; found torch.float32"),
        (torch.full((1, 37, 40), 1 << 31), ValueError, "labels must be below 2\\^31, found 2147483648"),
        ([[0]], TypeError, "label_maps must be a tensor, found list"),
    ],
)
def test_wrong_label_maps_are_refused(maps, error, message):
    with pytest.raises(error, match=message):
        lifted(make_view(), make_gaussians(5), maps)


def test_unknown_samples_are_refused():
    with pytest.raises(ValueError, match="samples must be one of 'all', 'centre', found 'center'"):
        lifted(make_view(), make_gaussians(5), torch.zeros(1, 37, 40, dtype=torch.int32), "center")
