"""Queries and both benchmarks from the command's configuration to the files a user opens."""

import json
import re

import cv2
import numpy as np
import pytest
from small_answers import BALLS, CENTERS, FOCAL, HEIGHT, WIDTH, ask, write_model

from evaluation.stage import QueryConfig, eval_query
from query import asking
from query.asking import Row
from query.tables import top_table
from workspace import InputError, ModelFolder, read_json, save_array, write_json


def test_phrases_are_found_in_every_view(model, capsys):
    metrics = ask(model, text=BALLS[:2])
    assert len(metrics["rows"]) == 2 * 9
    for row in metrics["rows"]:
        index = int(row["image"][-5:])
        x, y, _ = CENTERS[BALLS.index(row["phrase"])]
        expected = WIDTH / 2 + FOCAL * (x - 0.15 * (index - 4)) / 5, HEIGHT / 2 + FOCAL * y / 5
        # The window of 30 pixels holds a whole ball of 30, and its mean is flat around the middle.
        assert np.hypot(*(np.array(row["point"]) - expected)) < 5
        assert row["level"] == "s" and row["score"] > 0.9 and row["ties"] <= 4
        assert 0 < row["area"] < 0.1 and "iou" not in row
    assert metrics["protocol"] is None and "miou" not in metrics
    out = capsys.readouterr().out
    assert "red ball" in out and str(model.report) in out


def test_a_name_that_is_not_of_the_scene_is_no_matter_of_labels(model):
    with pytest.raises(InputError, match=r"--names(?s:.*)no image for name 'frame_9'(?s:.*)such as views/frame_00000") as refused:
        ask(model, text=("red ball",), names=("frame_9",))
    assert "label" not in str(refused.value).lower()


def test_a_long_phrase_does_not_widen_the_table(capsys):
    row = Row("view", "held-out", "a very long yellow duck " * 60, "s", 0.5, (3, 4), "s", 1, 0.1, True)
    lines = top_table([row]).splitlines()
    assert max(map(len, lines)) < 120 and lines[-1].startswith("a very long yellow duck a very")


def test_pictures_have_safe_names_and_the_views_size(model):
    ask(model, text=BALLS, names=("frame_00004",))
    names = sorted(path.name for path in (model.evaluation / "views/frame_00004").iterdir())
    assert len(names) == 8 and all(re.fullmatch(r"[a-z0-9_.-]+", name) for name in names)
    assert "red_ball.png" in names and "red_ball.mask.png" in names
    mask = cv2.imread(str(model.answer_picture("views/frame_00004", "red_ball.mask")), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (HEIGHT, WIDTH) and set(np.unique(mask)) == {0, 255}


def test_splits_and_names_choose_the_views(model):
    held_out = ["views/frame_00000", "views/frame_00008"]
    assert [row["image"] for row in ask(model, text=("red ball",), split="test")["rows"]] == held_out
    assert len(ask(model, text=("red ball",), split="train")["rows"]) == 7
    assert ask(model, text=("red ball",), names=("frame_00008",))["rows"][0]["split"] == "held-out"
    with pytest.raises(InputError, match="frame_99"):
        ask(model, text=("red ball",), names=("frame_99",))
    with pytest.raises(InputError, match="--eval"):
        ask(model, text=("red ball",), names=("frame_00008",), split="train")


def test_lerf_protocol_from_labels_to_figures(model, scene, capsys):
    metrics = ask(model, labels=scene / "label", shuffled_control=True)
    assert metrics["queries"] == 11 and metrics["views"] == 3  # four balls in three views, one ball absent from one
    assert metrics["localization_hits"] == 11 and metrics["localization_accuracy"] == 1
    assert metrics["miou"] > 0.5
    assert metrics["shuffled_miou"] == 0 and metrics["shuffled_localization_accuracy"] == 0
    assert metrics["by_split"]["held-out"]["queries"] == 4 and metrics["by_split"]["training"]["queries"] == 7
    assert ("views/frame_00003", "red ball") not in {(row["image"], row["phrase"]) for row in metrics["rows"]}
    assert np.mean([row["iou"] for row in metrics["rows"]]) == pytest.approx(metrics["miou"])
    assert set(metrics["seconds_per_view"]) == {"render", "relevancy", "answer"}
    assert "100.0 (11/11)" in capsys.readouterr().out


def test_labels_apply_at_another_size(model, scene):
    metrics = ask(model, labels=scene / "label", resolution=120)
    assert metrics["localization_accuracy"] == 1
    picture = cv2.imread(str(model.answer_picture("views/frame_00000", "red_ball")))
    assert picture.shape[:2] == (90, 120)


def test_3d_ovs_protocol_scores_both_kinds_of_mask(model, scene):
    metrics = ask(model, labels=scene / "segmentations", protocol="3d_ovs")
    assert metrics["queries"] == 11 and metrics["localization_accuracy"] == 1
    assert metrics["miou"] > 0.5
    # Without a class for the room, a ball claims all it reaches: 3.3 sigma, twice the radius of its outline.
    assert metrics["argmax_miou"] == pytest.approx(0.25, abs=0.05)
    assert model.answer_picture("views/frame_00000", "classes").exists()


def test_classes_paint_every_covered_pixel(model):
    ask(model, classes=BALLS, names=("frame_00004",))
    painted = cv2.imread(str(model.answer_picture("views/frame_00004", "classes")))
    corners = [painted[HEIGHT // 2 + dy, WIDTH // 2 + dx] for dy in (-24, 24) for dx in (-36, 36)]
    assert len({tuple(color) for color in corners}) == 4


def test_one_level_and_the_latent_comparison(model):
    assert {row["level"] for row in ask(model, text=("red ball",), level="m")["rows"]} == {"m"}
    with pytest.raises(InputError, match="s, m, l, not 'grid'"):
        ask(model, text=("red ball",), level="grid")
    rows = ask(model, text=("red ball",), compare="latent", names=("frame_00004",))["rows"]
    assert rows[0]["score"] > 0.9


def test_more_phrases_than_fit_are_asked_in_groups(model, scene, monkeypatch):
    together = ask(model, labels=scene / "label")
    monkeypatch.setattr(asking, "RELEVANCY_BYTES", 2 * 3 * 4 * WIDTH * HEIGHT)
    in_twos = ask(model, labels=scene / "label")
    for one, other in zip(together["rows"], in_twos["rows"], strict=True):
        # The same products in matrices of another width.
        assert one == {**other, "score": pytest.approx(other["score"], abs=1e-6)}


def test_a_field_of_one_level(model):
    record = read_json(model.language / "stage.json")
    write_json(model.language / "stage.json", {**record, "config": {**record["config"], "levels": ["grid"]}})
    model.level_codes("s").rename(model.level_codes("grid"))
    row = ask(model, text=("red ball",), names=("frame_00004",))["rows"][0]
    assert (row["level"], row["point_level"]) == ("grid", "grid") and row["score"] > 0.9


def test_negatives_of_ones_own_change_the_score(model):
    canonical = ask(model, text=("red ball",), names=("frame_00004",))["rows"][0]
    rival = ask(model, text=("red ball",), names=("frame_00004",), negatives=("red ball",))["rows"][0]
    assert rival["score"] == pytest.approx(0.5, abs=1e-6) and canonical["score"] > 0.9


def test_the_report_is_one_file_that_needs_nothing(model, scene):
    ask(model, text=("</script><b>",), labels=scene / "label")
    page = model.report.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)|url\(|@import|fetch\(""", page)
    data = json.loads(re.search(r"const DATA = (\{.*\});", page).group(1))
    assert [view["image"] for view in data["views"]] == ["views/frame_00000", "views/frame_00003", "views/frame_00006"]
    answers = data["views"][0]["answers"]
    assert [a["phrase"] for a in answers] == ["</script><b>", *BALLS]
    assert answers[1]["truth"].startswith("M") and answers[0]["truth"] is None
    assert page.count("</script>") == 1


def test_the_report_keeps_the_best_views(model):
    eval_query(QueryConfig(model_path=(model.root,), text=("red ball",), report_views=2, device="cpu"))
    page = model.report.read_text(encoding="utf-8")
    data = json.loads(re.search(r"const DATA = (\{.*\});", page).group(1))
    assert len(data["views"]) == 2 and data["omitted"] == 7 and len(data["metrics"]["rows"]) == 9


def test_several_models_give_mean_and_spread(model, scene, tmp_path, capsys):
    noisy = write_model(tmp_path / "noisy", scene, noise=0.5)
    eval_query(QueryConfig(model_path=(model.root, noisy.root), labels=scene / "label", device="cpu"))
    first, second = (read_json(m.metrics)["miou"] for m in (model, noisy))
    spread = read_json(model.runs)["measures"]["miou"]
    assert spread["values"] == [first, second] and first != second
    assert spread["mean"] == pytest.approx((first + second) / 2)
    assert spread["std"] == pytest.approx(abs(first - second) / np.sqrt(2))
    assert "over 2 runs" in capsys.readouterr().out


def test_another_question_replaces_the_answers_but_nothing_else(model):
    ask(model, text=("red ball",))
    ask(model, text=("grüner Ball",), names=("frame_00001",))
    assert not model.answer_picture("views/frame_00001", "red_ball").exists()
    for path in sorted(model.evaluation.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (model.evaluation / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files but no"):
        ask(model, text=("red ball",))
    assert (model.evaluation / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--text"),
        ({"text": ("red ball", " ")}, "empty phrase"),
        ({"text": ("red ball",), "mask_thresh": 1.0}, "mask_thresh"),
        ({"classes": ("red ball",)}, "at least two"),
        ({"text": ("red ball",), "shuffled_control": True}, "--labels"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        ask(model, **settings)


def test_unmatched_labels_are_listed(model, tmp_path):
    box = {"category": "x", "segmentation": [[1, 1], [2, 1], [2, 2]], "bbox": [1, 1, 2, 2]}
    for name in ("frame_1", "frame_2"):
        write_json(tmp_path / "labels" / f"{name}.json", {"info": {"width": 9, "height": 9}, "objects": [box]})
    with pytest.raises(InputError, match=r"(?s)frame_1.*frame_2.*views/frame_00001"):
        ask(model, labels=tmp_path / "labels")


def test_codes_of_other_gaussians_are_refused(model):
    record = read_json(model.language / "stage.json")
    write_json(model.language / "stage.json", {**record, "inputs": {"geometry": "another"}})
    with pytest.raises(InputError, match="other Gaussians"):
        ask(model, text=("red ball",))
    write_json(model.language / "stage.json", record)
    save_array(model.level_codes("s"), np.zeros((3, 6), np.float32))
    with pytest.raises(InputError, match=r"\[3, 6\]; expected floats \[4, 6\]"):
        ask(model, text=("red ball",))


def test_a_field_without_contrast_is_called_out(model, caplog):
    for level in ("s", "m", "l"):
        save_array(model.level_codes(level), np.zeros((4, 6), np.float32))
    rows = ask(model, text=("red ball",), names=("frame_00004",))["rows"]
    assert rows[0]["ties"] == WIDTH * HEIGHT
    assert "no contrast" in caplog.text


def test_a_model_that_was_not_trained_names_the_command(tmp_path):
    with pytest.raises(InputError, match="--include_feature"):
        ask(ModelFolder(tmp_path), text=("red ball",))


def test_phrases_beside_labels_are_in_the_table(model, scene, capsys):
    ask(model, text=("a lamp", "red ball"), labels=scene / "label")
    figures, others = capsys.readouterr().out.split("Without ground truth")
    assert "100.0 (11/11)" in figures  # the labelled phrases, "red ball" among them
    assert "a lamp" in others and "red ball" not in others and "best score" in others


def test_answers_that_are_replaced_are_named(model, scene, caplog):
    ask(model, labels=scene / "label")
    assert "replace" not in caplog.text
    ask(model, labels=scene / "label", mask_thresh=0.5)  # the same question
    assert "replace" not in caplog.text
    ask(model, text=("red ball", "lamp"))
    assert f"holds the answers to --labels {scene / 'label'}; these ones replace them" in caplog.text
    ask(model, text=("lamp",))
    assert "holds the answers to --text 'red ball' lamp;" in caplog.text
