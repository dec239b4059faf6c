"""3D object selection from a model folder to the figures of both published evaluators."""

import numpy as np
import pytest
import torch
from small_answers import BALLS, write_model

from evaluation import object_selection
from evaluation.gaussian_scores import gaussian_scores
from evaluation.object_selection import SelectionConfig, alpha, evaluate_selection
from evaluation.selection_table import SelectionTableConfig, selection_table
from query import session
from query.loading import load_field
from workspace import InputError, load_array, read_json, save_array, write_json


@pytest.fixture
def model(model, monkeypatch):
    monkeypatch.setattr("evaluation.protocols.gaussian_selection.NEIGHBOURS", 1)  # four Gaussians would all be neighbours
    return model


def evaluate(model, scene, **settings):
    evaluate_selection(
        SelectionConfig(scene / "label", (model.root,), device="cpu", **{"phrases": "labels", **settings}),
    )
    return read_json(model.selection_metrics)


def test_every_ball_is_selected_and_the_evaluators_differ_by_their_opacity(model, scene, capsys):
    found = evaluate(model, scene, shuffled_control=True)["selections"]
    assert set(found) == {"vala_0.4", "vala_0.6", "argmax_s", "argmax_m", "argmax_l"}
    for selection in ("vala_0.4", "vala_0.6", "argmax_s"):
        strict, veil = found[selection]["opengaussian"], found[selection]["vala"]
        assert strict["units"] == veil["units"] == 11 and strict["missing"] == veil["missing"] == 0
        # A ball's opacity is 0.9975 exp(-r^2 / 2 s^2) and its outline where that is 0.25: areas go with the squared radii
        # at 0.7 and at 10.5/255. Half a pixel of the outline's radius of 15 is 6 % of its area.
        square = {level: 2 * np.log(0.9975 / level) for level in (0.7, 0.25, 10.5 / 255)}
        assert strict["miou"] == pytest.approx(square[0.7] / square[0.25], rel=0.06)
        assert veil["miou"] == pytest.approx(square[0.25] / square[10.5 / 255], rel=0.06)
        assert veil["accuracy_25"] == 1 and veil["accuracy_50"] == 0 and strict["shuffled_miou"] == 0
    # Level l tells no ball from another: the first phrase takes all.
    assert found["argmax_l"]["vala"]["accuracy_25"] < 0.5
    assert "opengaussian" in capsys.readouterr().out


def test_a_label_that_is_not_asked_counts_as_missing(model, scene, monkeypatch):
    lists = {scene.resolve().name: object_selection.published_lists()["ramen"].__class__(("frame_00000",), BALLS[:2])}
    monkeypatch.setattr(object_selection, "published_lists", lambda: lists)
    found = evaluate(model, scene, phrases="published", shuffled_control=True)["selections"]["vala_0.6"]["vala"]
    assert found["units"] == 11 and found["missing"] == 6
    assert found["accuracy_25"] == pytest.approx(5 / 11)
    assert found["shuffled_miou"] == 0  # the label that is not asked has the masks of all phrases as its control


def test_labels_that_outline_nothing_say_so(model, scene, tmp_path):
    write_json(
        tmp_path / "label" / "frame_00000.json", {"info": {"name": "frame_00000", "width": 64, "height": 48}, "objects": []}
    )
    with pytest.raises(InputError, match="outline nothing, so that there is no phrase to ask"):
        evaluate_selection(SelectionConfig(tmp_path / "label", (model.root,), device="cpu", phrases="labels"))


def test_a_scene_without_a_published_list_is_told_what_to_do(model, scene):
    with pytest.raises(InputError, match="--phrases labels"):
        evaluate(model, scene, phrases="published")


def test_a_gaussian_that_was_never_seen_is_no_answer(model, scene):
    before = evaluate(model, scene)["selections"]["argmax_s"]["vala"]
    for level in ("s", "m", "l"):
        codes = load_array(model.level_codes(level)).copy()
        codes[0] = 0
        save_array(model.level_codes(level), codes)
    after = evaluate(model, scene)["selections"]["argmax_s"]["vala"]
    unseen = {row["image"]: row["iou"] for row in after["rows"] if row["phrase"] == BALLS[0]}
    assert before["miou"] > after["miou"] and set(unseen.values()) == {0.0}


def test_a_gaussian_without_a_code_at_one_level_is_no_answer_of_that_level(model, scene):
    before = evaluate(model, scene)["selections"]
    codes = load_array(model.level_codes("s")).copy()
    codes[1] = 0
    save_array(model.level_codes("s"), codes)
    after = evaluate(model, scene)["selections"]

    def by_phrase(found, selection):
        return {(row["phrase"], row["image"]): row["iou"] for row in found[selection]["vala"]["rows"]}

    old, new = by_phrase(before, "argmax_s"), by_phrase(after, "argmax_s")
    # Not one of the first phrase either, which wins a tie.
    assert all(new[row] == (0.0 if row[0] == BALLS[1] else old[row]) for row in old)
    assert by_phrase(before, "argmax_m") == by_phrase(after, "argmax_m")
    field = load_field(model, torch.device("cpu"))
    question = session.Session.open(SelectionConfig(scene / "label", (model.root,), device="cpu"), model).question(BALLS)
    scores = gaussian_scores(question)
    assert not scores.has_code[0, 1] and scores.has_code.sum() == scores.has_code.numel() - 1
    assert torch.all(scores.relevancy[0, :, 1] == 0.5) and field.known.any(1).all()


def test_selections_against_other_negatives_share_no_table(model, scene, tmp_path):
    other = write_model(tmp_path / "other", scene)
    for one, negatives in ((model, ()), (other, ("object",))):
        evaluate(one, scene, negatives=negatives)
        write_json(one.selection_metrics, read_json(one.selection_metrics) | {"scene": "teatime"})
    with pytest.raises(InputError, match=r"negatives object; phrases asked: labels(?s:.*)the same flags of python -m evaluation"):
        selection_table(SelectionTableConfig((model.root, other.root)))


def test_only_the_selected_are_drawn_and_nothing_hides_them(model):
    field = load_field(model, torch.device("cpu"))
    scene = field.trained.scene()
    camera = scene.train[0]
    one = alpha(camera, field.trained.gaussians, torch.tensor([True, False, False, False]))
    none = alpha(camera, field.trained.gaussians, torch.zeros(4, dtype=torch.bool))
    assert one.max() > 0.9 and not none.any()
    rows, columns = np.nonzero(one.numpy() > 0.5)
    assert rows.max() < camera.height / 2 and columns.max() < camera.width / 2  # the ball at the upper left


def test_the_table_keeps_the_evaluators_apart(model, scene, capsys):
    evaluate(model, scene)
    metrics = read_json(model.selection_metrics)
    write_json(model.selection_metrics, metrics | {"scene": "teatime"})
    capsys.readouterr()
    selection_table(SelectionTableConfig((model.root,)))
    published, strict, veil = capsys.readouterr().out.split("Ours by ")
    assert "58.02 / 82.85" in published and "opacity of 0.7" in strict and "10.5/255" in veil

    row = next(line for line in strict.splitlines() if line.startswith("vala_0.6"))
    figures = metrics["selections"]["vala_0.6"]["opengaussian"]
    assert f"{100 * figures['miou']:.1f} / {100 * figures['accuracy_25']:.1f}" in row and row.rstrip().endswith("-")
    assert "teatime 11 (0 without a prediction)" in veil
