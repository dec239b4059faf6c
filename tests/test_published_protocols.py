"""Every published evaluator, equal to its recorded inputs and outputs (../shared/golden/selection3d)."""

import json

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evaluation.labels import read_lerf_ovs
from evaluation.overlap import intersection_over_union, localized
from evaluation.protocols import (
    gaussian_selection,
    langsplat_v2,
    lerf_ovs_3d,
    ludvig,
    mipnerf360_gags,
    mipnerf360_goi,
    occam,
    opengaussian_leaves,
    scannet,
    vala_volume,
)
from query.relevancy import relevancy

METRIC = 1e-6  # the recorded metrics are float32


@pytest.fixture
def golden(shared):
    folder = shared / "golden" / "selection3d"
    if not folder.is_dir():
        pytest.skip("recorded evaluators (../shared/golden/selection3d) are not beside this checkout")
    return folder


def read_json(path):
    return json.loads(path.read_text())


def unpacked(packed, width):
    return torch.from_numpy(np.unpackbits(packed, axis=-1)[..., :width].astype(bool))


def floats(array):
    return torch.from_numpy(array.astype(np.float32))


@pytest.fixture
def lerf3d(golden):
    recorded = np.load(golden / "lerf3d" / "masks.npz")
    alphas = {
        tuple(str(key).split("/")): torch.from_numpy(alpha)
        for key, alpha in zip(recorded["alpha_keys"], recorded["alpha"], strict=True)
    }
    return (
        recorded,
        alphas,
        read_lerf_ovs(golden / "lerf3d" / "label" / "figurines"),
        read_json(golden / "lerf3d" / "expected.json"),
    )


@pytest.mark.parametrize(
    ("name", "rule", "printed"),
    # OpenGaussian prints four decimals.
    [("opengaussian", lerf_ovs_3d.opengaussian_mask, 5e-5), ("vala", lerf_ovs_3d.vala_mask, METRIC)],
)
def test_lerf_ovs_in_3d_equals_the_published_evaluators(lerf3d, name, rule, printed):
    recorded, alphas, frames, expected = lerf3d
    units = lerf_ovs_3d.overlaps(frames, alphas, rule)
    assert {f"{unit.image}/{unit.phrase}": unit.iou for unit in units} == pytest.approx(expected[name]["iou"], abs=METRIC)
    assert [f"{unit.image}/{unit.phrase}" for unit in units if unit.missing] == expected[name]["missing"]
    found = lerf_ovs_3d.figures(units)
    assert found.miou == pytest.approx(expected[name]["mIoU"], abs=printed)
    assert found.accuracy_25 == pytest.approx(expected[name]["Acc@0.25"], abs=printed)
    assert found.accuracy_50 == pytest.approx(expected[name]["Acc@0.5"], abs=printed)
    assert (found.units, found.missing) == (35, 5)


def test_masks_and_outlines_of_lerf_ovs_in_3d_equal_the_published_files(lerf3d, golden):
    recorded, alphas, frames, _ = lerf3d
    height, width = map(int, recorded["shape"])
    for alpha, opengaussian, vala in zip(
        alphas.values(), unpacked(recorded["mask_opengaussian"], width), recorded["png_vala"], strict=True
    ):
        assert torch.equal(lerf_ovs_3d.opengaussian_mask(alpha), opengaussian)
        np.testing.assert_array_equal(lerf_ovs_3d.vala_mask(alpha).numpy(), vala > 10)
    outlines = {(frame.name, phrase): frame.mask(phrase, width, height) for frame in frames for phrase in frame.phrases}
    for key, truth in zip(recorded["keys"], unpacked(recorded["gt"], width), strict=True):
        frame, phrase = str(key).split("/")
        np.testing.assert_array_equal(outlines[frame, phrase], truth)
        file = cv2.imread(str(golden / "lerf3d" / "gt" / "figurines" / frame / f"{phrase}.jpg"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(outlines[frame, phrase], file > 10)


def test_the_fixed_lists_of_lerf_ovs_in_3d_are_the_published_ones(golden):
    lists = lerf_ovs_3d.published_lists()
    assert {scene: list(found.phrases) for scene, found in lists.items()} == read_json(golden / "phrases.json")
    assert sum(len(found.frames) for found in lists.values()) == 22


@pytest.mark.parametrize(("threshold", "suffix"), [(0.4, "04"), (0.6, "06")])
def test_vala_selects_the_published_gaussians(golden, threshold, suffix):
    recorded = np.load(golden / "vala3d" / "select.npz")
    positive, negative = floats(recorded["positive"]), floats(recorded["negative"])
    scores = relevancy(floats(recorded["features"]), positive, negative).movedim(0, 1)
    # The tolerance the recording states for relevancy: exponentials in another order.
    np.testing.assert_allclose(scores.numpy(), recorded["relevancy"], atol=5e-6)
    found = gaussian_selection.select_vala(scores, torch.from_numpy(recorded["xyz"]), threshold)
    np.testing.assert_array_equal(found.level.numpy(), recorded["level"])
    np.testing.assert_allclose(found.score.numpy(), recorded["scores"], atol=5e-6)
    assert torch.equal(found.masks, unpacked(recorded[f"masks_{suffix}"], len(recorded["xyz"])))


def test_one_phrase_alone_is_selected_as_among_others(golden):
    """The published function stops at a single phrase."""
    recorded = np.load(golden / "vala3d" / "select.npz")
    found = gaussian_selection.select_vala(torch.from_numpy(recorded["relevancy"][:, :1]), torch.from_numpy(recorded["xyz"]), 0.4)
    assert torch.equal(found.masks, unpacked(recorded["masks_04"][:1], len(recorded["xyz"])))


def test_every_gaussian_goes_to_its_most_similar_phrase():
    owned = gaussian_selection.select_argmax(torch.tensor([[0.1, 0.9, 0.3], [0.4, 0.2, 0.3]]))
    assert owned.tolist() == [[False, True, True], [True, False, False]]


@pytest.mark.parametrize("num_classes", [19, 15, 10])
@pytest.mark.parametrize("form", ["opengaussian", "ludvig"])
def test_scannet_equals_the_published_evaluator(golden, form, num_classes):
    recorded = np.load(golden / "scannet" / "scene.npz")
    expected = read_json(golden / "scannet" / "expected.json")["scene"][f"{form}_{num_classes}"]
    names = [str(name) for name in recorded["names"]]
    texts = floats(recorded["text"])[[names.index(phrase) for phrase in scannet.phrases(num_classes)]]
    if form == "ludvig":
        features = floats(recorded["features"])
    else:  # one feature per leaf; leaves seen once have none
        leaves = floats(recorded["leaf_features"]) * torch.from_numpy(recorded["leaf_occurrence"] >= 2)[:, None]
        features = leaves[torch.from_numpy(recorded["leaf_of_gaussian"]).long().clamp(max=len(leaves) - 1)]
    predicted = scannet.predict(F.normalize(features, dim=1) @ F.normalize(texts, dim=1).T)
    truth = scannet.ground_truth(
        torch.from_numpy(recorded["nyu40"].astype(np.int64)), torch.from_numpy(recorded["opacity_logit"]).sigmoid(), num_classes
    )
    np.testing.assert_array_equal(predicted.numpy(), recorded[f"pred_{form}_{num_classes}"])
    np.testing.assert_array_equal(truth.numpy(), recorded[f"gt_{num_classes}"])
    found = scannet.figures(truth, predicted, num_classes)
    assert (found.miou, found.macc, found.accuracy) == pytest.approx(
        (expected["mIoU"], expected["mAcc"], expected["accuracy"]), abs=METRIC
    )
    assert list(found.iou) == expected["classes_in_gt"]
    assert list(found.iou.values()) == pytest.approx([expected["iou"][c] for c in found.iou], abs=METRIC)


@pytest.mark.parametrize(
    "case", ["predicted_class_absent_from_gt", "nothing_labelled", "one_class", "never_predicted", "perfect"]
)
def test_scannet_counts_absent_classes_as_published(golden, case):
    recorded = np.load(golden / "scannet" / "scene.npz")
    expected = read_json(golden / "scannet" / "expected.json")["edge"][case]
    truth, predicted = (torch.from_numpy(recorded[f"edge_{case}_{name}"]).long() for name in ("gt", "pred"))
    found = scannet.figures(truth, predicted, expected["total_classes"] - 1)
    numbers = [float("nan") if expected[name] is None else expected[name] for name in ("mIoU", "mAcc", "accuracy")]
    assert [found.miou, found.macc, found.accuracy] == pytest.approx(numbers, abs=METRIC, nan_ok=True)
    assert [found.iou.get(c, 0.0) for c in range(1, expected["total_classes"])] == pytest.approx(expected["iou"][1:], abs=METRIC)


def test_volume_aware_scannet_equals_the_published_class(golden):
    recorded = np.load(golden / "scannet" / "vala_volume.npz")
    expected = read_json(golden / "scannet" / "vala_volume.json")
    around = [recorded[name] for name in ("points", "point_labels", "mu", "scale", "rotation")]
    labels = vala_volume.pseudo_labels(*around)
    np.testing.assert_array_equal(labels, recorded["pseudo"])
    unbalanced = vala_volume.pseudo_labels(*around, class_balance=False)
    np.testing.assert_array_equal(unbalanced, recorded["pseudo_without_class_balance"])
    weights = vala_volume.significance(recorded["scale"], recorded["opacity"][:, 0])
    np.testing.assert_allclose(weights, recorded["significance"], rtol=METRIC)
    found = vala_volume.figures(labels, recorded["pred"], weights, expected["num_classes"])
    assert [found.iou[c] for c in range(1, 8)] == pytest.approx(recorded["iou"][1:], abs=METRIC)
    named = expected["iou_and_accuracy"]
    assert (found.miou, found.macc, found.accuracy) == pytest.approx(
        (named["mIoU"], named["mAcc"], named["accuracy"]), abs=METRIC
    )


GOI_SCENES = "room garden edge_all_missing edge_both_empty edge_empty_label edge_empty_prediction edge_full_prediction".split()


def goi_figures(golden, scene, **settings):
    predictions = mipnerf360_goi.published_layout(golden / "goi" / "pred" / scene)
    return mipnerf360_goi.scene_figures(golden / "goi" / "gt" / scene, predictions, **settings)


@pytest.mark.parametrize("scene", GOI_SCENES)
def test_goi_equals_the_published_evaluator(golden, scene):
    expected = read_json(golden / "goi" / "expected.json")[scene]
    found = goi_figures(golden, scene)
    assert triple(found.means) == pytest.approx(numbers_of(expected, "mIoU", "mPA", "mP"), abs=METRIC, nan_ok=True)
    assert list(found.missing) == expected["missing"]
    assert list(found.images) == list(expected["images"])
    for name, image in expected["images"].items():
        assert triple(found.images[name]) == pytest.approx(numbers_of(image, "iou", "mpa", "mp"), abs=METRIC, nan_ok=True)


def test_goi_averages_scenes_as_published(golden):
    expected = read_json(golden / "goi" / "expected.json")["overall"]
    scenes = [goi_figures(golden, scene).means for scene in expected["scenes"]]
    assert triple(mipnerf360_goi.mean(scenes)) == pytest.approx(numbers_of(expected, "mIoU", "mPA", "mP"), abs=METRIC)


def test_a_missing_prediction_of_goi_is_skipped_or_zero_as_asked(golden):
    skipped, zero = goi_figures(golden, "room"), goi_figures(golden, "room", missing="zero")
    assert skipped.missing == zero.missing == ("slippers/DSCF4621",)
    # One of the three pictures of one of the three prompts.
    slippers = [found.iou for name, found in skipped.images.items() if name.startswith("slippers/")]
    lost = sum(slippers) / 2 - sum(slippers) / 3
    assert zero.means.iou == pytest.approx(skipped.means.iou - lost / 3)


def triple(found):
    return [found.iou, found.mpa, found.mp]


def numbers_of(record, *names):
    return [float("nan") if record[name] is None else record[name] for name in names]


@pytest.fixture
def maps2d(golden):
    folder = golden / "maps2d"
    return (
        np.load(folder / "features.npz"),
        np.load(folder / "outputs.npz"),
        read_json(folder / "expected.json"),
        read_lerf_ovs(folder / "label"),
    )


def relevancy_of(features, frame):
    """Relevancy [levels, p, h, w] of the phrases in the order of the label."""
    names = [str(name) for name in features["phrases"]]
    positive = floats(features["positive"])[[names.index(phrase) for phrase in frame.phrases]]
    return relevancy(floats(features[f"features_{int(frame.name[-5:])}"]), positive, floats(features["negative"])).movedim(0, 1)


def test_langsplat_v2_answers_as_published(maps2d):
    features, outputs, expected, frames = maps2d
    ious, hits = [], []
    for frame in frames:
        number = int(frame.name[-5:])
        maps = relevancy_of(features, frame)
        recorded = expected["langsplatv2"]["frames"][str(number)]
        masks = unpacked(outputs[f"v2_mask_{number}"], frame.width)
        if f"v2_relevancy_{number}" in outputs:
            np.testing.assert_allclose(maps.numpy(), outputs[f"v2_relevancy_{number}"], atol=5e-6)
        for i, phrase in enumerate(frame.phrases):
            found = langsplat_v2.answer(maps[:, i])
            assert found.level == recorded["level"][i]
            assert torch.equal(found.mask, masks[i, found.level])
            ious.append(intersection_over_union(found.mask, torch.from_numpy(frame.mask(phrase, frame.width, frame.height))))
            hits.append(frame.hit(phrase, found.points, frame.width, frame.height))
        assert ious[-len(frame.phrases) :] == pytest.approx(recorded["iou"], abs=METRIC)
        assert hits[-len(frame.phrases) :] == [bool(hit) for hit in recorded["hit"]]
    assert np.mean(ious) == pytest.approx(expected["langsplatv2"]["mIoU"], abs=METRIC)
    assert np.mean(hits) == pytest.approx(expected["langsplatv2"]["localization_accuracy"], abs=METRIC)


def test_gags_answers_as_published(maps2d):
    features, outputs, expected, frames = maps2d
    ious, hits = [], []
    for frame in frames:
        number = int(frame.name[-5:])
        maps = relevancy_of(features, frame)[:1]
        recorded = expected["gags"]["frames"][str(number)]
        for i, (phrase, mask) in enumerate(
            zip(frame.phrases, unpacked(outputs[f"gags_mask_{number}"], frame.width), strict=True)
        ):
            found = mipnerf360_gags.answer(maps[:, i])
            assert int((found.mask ^ mask).sum()) <= 1  # the recorded box filter is a Fourier transform
            ious.append(intersection_over_union(found.mask, torch.from_numpy(frame.mask(phrase, frame.width, frame.height))))
            hits.append(frame.hit(phrase, found.points, frame.width, frame.height))
        # One pixel of the smallest outline.
        assert ious[-len(frame.phrases) :] == pytest.approx(recorded["iou"], abs=5e-3)
        assert hits[-len(frame.phrases) :] == [bool(hit) for hit in recorded["hit"]]
    assert np.mean(hits) == pytest.approx(expected["gags"]["localization_accuracy"], abs=METRIC)


@pytest.mark.parametrize(("setting", "rule"), [("uplifted", ludvig.uplifted), ("diffused", ludvig.diffused)])
def test_ludvig_answers_as_published(golden, setting, rule):
    recorded = np.load(golden / "maps2d" / "ludvig_relevancy.npz")
    expected = read_json(golden / "maps2d" / "ludvig.json")
    prompts, names = [str(p) for p in recorded["prompts"]], [str(n) for n in recorded["names"]]
    ious, hits = [], []
    for frame in read_lerf_ovs(golden / "maps2d" / "label"):
        for phrase, answer in expected["frames"][frame.name][setting].items():
            maps = torch.from_numpy(recorded["relevancy"][names.index(frame.name), prompts.index(phrase)])
            found = rule(maps[None])
            truth = torch.from_numpy(frame.mask(phrase, frame.width, frame.height))
            ious.append(intersection_over_union(found.mask, truth))
            hits.append(localized(found.points, torch.from_numpy(frame.boxes(phrase, frame.width, frame.height))))
            # The tolerance the recording states: one of Otsu's 256 bins.
            assert ious[-1] == pytest.approx(answer["iou"], abs=2e-3)
            assert hits[-1] == bool(answer["hit"])
    assert 100 * np.mean(ious) == pytest.approx(expected["summary"][setting]["mIoU_percent"], abs=0.2)
    assert 100 * np.mean(hits) == pytest.approx(expected["summary"][setting]["accuracy_percent"], abs=1e-4)


@pytest.mark.parametrize(("name", "stability"), [("defaults", occam.PROGRAM), ("script", occam.SCRIPT)])
def test_occam_finds_the_published_thresholds(golden, name, stability):
    maps = torch.from_numpy(np.load(golden / "maps2d" / "occam_threshold.npz")["maps"])
    expected = read_json(golden / "maps2d" / "occam_threshold.json")
    limits = expected["parameters"][name]
    assert (stability.gradient, stability.smallest, stability.largest) == tuple(limits.values())
    for levels, case in zip(maps, expected["cases"], strict=True):
        found = occam.choose(levels, stability)
        assert found.level == case[name]["level"]
        assert found.threshold == pytest.approx(case[name]["threshold"], abs=METRIC)


def test_opengaussians_leaves_are_its_own(golden):
    recorded = np.load(golden / "lerf3d" / "opengaussian_select.npz")
    inputs = [floats(recorded["text"]), floats(recorded["leaf_feat"]), torch.from_numpy(recorded["occu_count"])]
    found = opengaussian_leaves.select_leaves(*inputs, floats(recorded["leaf_code"]), int(recorded["root_num"]))
    assert found == [[leaf for leaf in row if leaf >= 0] for row in recorded["selected"].tolist()]


def test_opengaussians_filter_keeps_its_gaussians_in_every_view(golden):
    recorded = np.load(golden / "lerf3d" / "opengaussian_filter.npz")
    xyz, scale, leaf = (torch.from_numpy(recorded[name]) for name in ("xyz", "scale", "leaf"))
    expected = unpacked(recorded["mask"], len(xyz))
    for radii, masks, drawn in zip(torch.from_numpy(recorded["radii"]), expected, recorded["rendered"], strict=True):
        for leaves, mask, is_drawn in zip(recorded["selections"], masks, drawn, strict=True):
            selected = torch.isin(leaf, torch.from_numpy(leaves[leaves >= 0]))
            found = opengaussian_leaves.drawn_in_view(selected, xyz, scale, radii)
            assert torch.equal(found, mask) and bool(found.any()) == is_drawn
