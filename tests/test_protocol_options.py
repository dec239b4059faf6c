"""The rules and label formats that eval_query takes by name, from the command's configuration to figures."""

import json

import cv2
import numpy as np
import pytest
from small_answers import BALLS, HEIGHT, WIDTH, ask, write_model

from evaluation.benchmark import BenchmarkConfig, benchmark
from evaluation.protocols.mipnerf360_gags import gags_views
from workspace import InputError, read_json


@pytest.mark.parametrize("rule", ["langsplat", "langsplat_v2", "ludvig_uplifted", "ludvig_diffused", "occam", "occam_script"])
def test_every_rule_finds_the_balls_and_is_named_in_the_figures(model, scene, rule):
    metrics = ask(model, labels=scene / "label", rule=rule)
    assert metrics["rule"] == rule and metrics["queries"] == 11
    assert metrics["localization_hits"] == 11 and metrics["miou"] > 0.3


def test_the_windows_of_langsplat_v2_give_another_mask(model):
    first = ask(model, text=BALLS[:1], names=("frame_00000",))
    second = ask(model, text=BALLS[:1], names=("frame_00000",), rule="langsplat_v2")
    assert first["rows"][0]["area"] != second["rows"][0]["area"]


def test_gags_reads_one_level(model, scene):
    with pytest.raises(InputError, match="--level"):
        ask(model, labels=scene / "label", rule="gags")
    assert ask(model, labels=scene / "label", rule="gags", level="s")["localization_hits"] == 11


def test_a_rule_that_finds_its_threshold_takes_none(model):
    with pytest.raises(InputError, match="occam finds its threshold"):
        ask(model, text=BALLS, rule="occam", mask_thresh=0.5)


def test_figures_of_two_rules_share_no_table(model, scene, tmp_path, capsys):
    other = write_model(tmp_path / "other", scene)
    for one, rule in ((model, "langsplat"), (other, "langsplat_v2")):
        ask(one, labels=scene / "label", rule=rule)
        metrics = read_json(one.metrics)
        one.metrics.write_text(json.dumps(metrics | {"scene": "teatime"}))
    with pytest.raises(InputError, match=r"rule langsplat; threshold 0\.4(?s:.*)rule langsplat_v2; threshold 0\.4"):
        benchmark(BenchmarkConfig((model.root, other.root)))
    benchmark(BenchmarkConfig((other.root,)))
    assert "rule langsplat_v2; threshold 0.4" in capsys.readouterr().out


@pytest.fixture
def goi_labels(scene, tmp_path):
    """The scene's 3D-OVS masks in GOI's layout, at the size of the views."""
    for path in (scene / "segmentations").rglob("*.png"):
        target = tmp_path / "goi" / path.stem / "masks" / f"{path.parent.name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        mask = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
        mask = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        target.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    return tmp_path / "goi"


def test_goi_averages_prompts_and_says_what_a_missing_view_costs(model, goi_labels):
    whole = ask(model, labels=goi_labels, protocol="mipnerf360_goi")
    assert whole["queries"] == 11 and whole["goi_missing"] == 0
    # The views have the size of the labels, so GOI's mean over prompts is ours.
    assert whole["goi_iou"] == whole["goi_iou_missing_as_zero"] == pytest.approx(whole["miou_by_phrase"])
    held_out = ask(model, labels=goi_labels, protocol="mipnerf360_goi", split="train")
    assert held_out["goi_missing"] == 4
    assert held_out["goi_iou"] == pytest.approx(held_out["miou_by_phrase"])
    # Two of three views are left; of the red ball, which frame 3 does not show, one of two.
    by_phrase = {name: [row["iou"] for row in held_out["rows"] if row["phrase"] == name] for name in BALLS}
    as_zero = np.mean([sum(found) / (2 if name == "red ball" else 3) for name, found in by_phrase.items()])
    assert held_out["goi_iou_missing_as_zero"] == pytest.approx(as_zero)


def test_labels_of_gags_are_places_in_the_list_of_training_views(caplog):
    keys = ["DSCF3.JPG", "DSCF1.JPG", "DSCF2.JPG"]
    assert gags_views(["frame_00002"], keys, ["DSCF3.JPG", "DSCF2.JPG"]) == {"frame_00002": "DSCF3.JPG"}
    assert "frame_00002 is DSCF3.JPG" in caplog.text
    with pytest.raises(InputError, match="frame_00004"):
        gags_views(["frame_00004"], keys, keys)
    assert gags_views(["frame_00002"], ["frame_00001", "frame_00002"], []) == {"frame_00002": "frame_00002"}
