"""Scanned scenes from training with fixed points to the figures of ScanNet's protocol."""

import re

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement
from small_answers import CENTERS, write_model, write_scene
from small_answers import embeddings as ball_embeddings
from small_scene import write_small_scene

from evaluation.scan_segmentation import ScanConfig, evaluate_scans
from query import session
from scene.dataset import load_scene
from scene.gaussian_files import load_ply
from scene.gaussian_model import GaussianModel
from toy_world.layouts import LayoutConfig, write_layout
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder, load_array, read_json, save_array

CLASS_OF_BALL = {"wall": 0, "floor": 1, "table": 2, "counter": 3}


class ClassNames:
    """A text encoder to which four class names are the four balls, and all others nothing like them."""

    negatives = ("object", "things")
    temperature = 10.0
    width = 12

    def embed(self, phrases):
        balls, negatives = ball_embeddings()
        return torch.stack([balls[CLASS_OF_BALL[name]] if name in CLASS_OF_BALL else negatives[0] for name in phrases])


def write_labels(root, labels, xyz=CENTERS):
    rows = np.array([(*point, label) for point, label in zip(xyz, labels, strict=True)], "f4,f4,f4,u2")
    rows.dtype.names = ("x", "y", "z", "label")
    path = root / f"{root.name}_vh_clean_2.labels.ply"
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "text_encoder", lambda *_: ClassNames())
    write_labels(write_scene(tmp_path / "scene0000_00"), (1, 2, 7, 12))
    return write_model(tmp_path / "model", tmp_path / "scene0000_00")


def evaluate(model, **settings):
    evaluate_scans(ScanConfig((model.root,), device="cpu", **settings))
    return read_json(model.scan_metrics)["classes"]


def test_every_point_takes_its_class_and_fewer_classes_ignore_more_points(model, capsys):
    found = evaluate(model, shuffled_control=True)
    assert found["19"]["s"]["iou"] == {"wall": 1, "floor": 1, "table": 1, "counter": 1}
    assert found["19"]["s"]["miou"] == found["15"]["s"]["macc"] == found["19"]["any"]["miou"] == 1
    assert set(found["10"]["s"]["iou"]) == {"wall", "floor", "table"} and "counter" not in found["10"]["s"]["absent"]
    # Of the 18 other cyclic orders of 19 names each gives every point a wrong class.
    assert found["19"]["s"]["shuffled_miou"] == 0
    # Level m tells the rows apart, so of two classes in a row one is found.
    assert found["19"]["m"]["macc"] == 0.5
    out = capsys.readouterr().out
    assert re.search(r"ours, level s +100\.0 / 100\.0 +100\.0 / 100\.0", out) and "32.11" in out and "mean of 1 scenes" in out


def test_a_gaussian_without_a_code_becomes_wall(model):
    for level in ("s", "m", "l"):
        codes = load_array(model.level_codes(level)).copy()
        codes[1] = 0
        save_array(model.level_codes(level), codes)
    found = evaluate(model)["19"]["s"]
    assert found["iou"]["floor"] == 0 and found["iou"]["wall"] == 0.5


def test_a_scene_without_a_labelled_point_has_no_figure(model, tmp_path, capsys):
    write_labels(tmp_path / "scene0000_00", (40, 40, 13, 0))
    assert evaluate(model)["19"]["s"]["miou"] is None
    assert "- / -" in capsys.readouterr().out


def test_a_scan_behind_a_link_keeps_its_name(model, tmp_path, capsys):
    (tmp_path / "scene0000_00").rename(tmp_path / "stored")
    (tmp_path / "scene0000_00").symlink_to("stored")
    evaluate_scans(ScanConfig((model.root,), source_path=tmp_path / "stored", device="cpu"))
    assert read_json(model.scan_metrics)["scene"] == "scene0000_00"
    assert "without scene0062_00" in capsys.readouterr().out  # the first that is missing


def test_other_points_than_the_scan_are_refused(model, tmp_path):
    write_labels(tmp_path / "scene0000_00", (1, 2, 7), CENTERS[:3])
    with pytest.raises(InputError, match="4 Gaussians.*3 points(?s:.*)--fixed_points"):
        evaluate(model)
    write_labels(tmp_path / "scene0000_00", (1, 2, 7, 12), np.array(CENTERS) + [0, 0.01, 0])
    with pytest.raises(InputError, match=r"0\.01 away"):
        evaluate(model)


def test_training_with_fixed_points_moves_and_adds_none(tmp_path):
    source = write_small_scene(tmp_path)
    start = load_scene(source)
    train_rgb(RgbTrainConfig(source, tmp_path / "model", preset="fast", iterations=240, fixed_points=True, device="cpu"))
    trained = load_ply(ModelFolder(tmp_path / "model").point_cloud(240))
    np.testing.assert_array_equal(trained.means.numpy(), start.points)
    before = GaussianModel.from_points(start.points, start.colors)
    assert not torch.allclose(trained.opacity_logits, before.opacity_logits, atol=0.1)  # everything else is trained


def test_fixed_points_without_a_point_file_are_refused_before_training_and_name_it(tmp_path):
    """Random points would train for hours, and could then not be compared with the scan."""
    write_layout(LayoutConfig(tmp_path, "scannet", ("scene0000_00",), width=96, height=72, views=9, objects=4, points=300))
    source, model = tmp_path / "scene0000_00", tmp_path / "model"
    cloud = source / "points3d.ply"
    cloud.unlink()
    with pytest.raises(InputError, match=rf"no file {re.escape(str(cloud))}.*--fixed_points"):
        train_rgb(RgbTrainConfig(source, model, preset="fast", iterations=1, fixed_points=True, device="cpu"))
    assert not model.exists()
    train_rgb(RgbTrainConfig(source, model, preset="fast", iterations=1, device="cpu"))  # without the flag, random ones do
    assert len(load_ply(ModelFolder(model).point_cloud(1))) == 100_000
