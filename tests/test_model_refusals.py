"""Damaged files of a model folder, and labels of another kind: one clear message each, never a traceback or silent nonsense."""

import json

import numpy as np
import pytest
import torch
from small_answers import write_model

from conversion.steps import read_steps
from conversion.video_frames import extract_frames
from query.code_colors import CodeColors
from query.loading import load_field
from scene.point_cloud import read_labelled_points
from training.export import ExportConfig, export_features
from training.view_quality import read_metrics
from workspace import InputError


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model", tmp_path / "scene")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (np.full((4, 6), np.nan, np.float32), "not finite"),
        (np.full((4, 6), 1e300), "not finite"),  # beyond float32
        (np.zeros((4, 6), np.int64), "int64"),
        (np.zeros((5, 6), np.float32), r"\[5, 6\]; expected floats \[4, 6\]"),
    ],
)
def test_codes_of_gaussians(model, codes, expected):
    np.save(model.level_codes("m"), codes)
    for read in (
        lambda: load_field(model, torch.device("cpu")),
        lambda: export_features(ExportConfig(model.root, model.root / "a.npy", level="m", device="cpu")),
    ):
        with pytest.raises(InputError, match=expected) as error:
            read()
        assert "train.py" in str(error.value)


def test_a_field_without_levels(model):
    path = model.language / "stage.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"config": record["config"] | {"levels": []}}))
    with pytest.raises(InputError, match=r"stage\.json.*levels"):
        load_field(model, torch.device("cpu"))


@pytest.mark.parametrize(
    "change", [{"mean": "x"}, {"mean": [0.0]}, {"directions": [[0.0]]}, {"low": []}, {"fingerprint": None}, None, []]
)
def test_a_damaged_basis_of_code_colours(model, change):
    field = load_field(model, torch.device("cpu"))
    CodeColors.of(model.code_colors, field)
    kept = json.loads(model.code_colors.read_text())
    model.code_colors.write_text(json.dumps({**kept, **change} if isinstance(change, dict) else change))
    with pytest.raises(InputError, match="json is damaged.*Delete it"):
        CodeColors.of(model.code_colors, field)


@pytest.mark.parametrize(
    ("read", "content", "expected"),
    [
        (read_steps, {"features": []}, "expected object"),
        (read_steps, ["features"], "expected object"),
        (read_metrics, {"views": {"test": {"a": {"psnr": 1}}}, "iteration": 1, "gaussians": 1, "seconds": 1}, "ssim"),
        (read_metrics, {"views": [], "iteration": 1, "gaussians": 1, "seconds": 1}, "views: expected object"),
    ],
)
def test_tables_of_a_stage(tmp_path, read, content, expected):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"(?s)a.json is damaged.*({expected})"):
        read(path)


@pytest.mark.parametrize("label", [-1, 41, 2**31 - 1])
def test_labels_that_are_no_nyu40_ids(tmp_path, label):
    """ScanNet200's ids would name other classes, and one huge id took memory for a table of that length."""
    head = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nproperty int label\n"
    (tmp_path / "a.ply").write_text(f"{head}end_header\n0 0 0 {label}\n")
    with pytest.raises(InputError, match=f"labels from {label} to {label}; expected NYU40"):
        read_labelled_points(tmp_path / "a.ply")


def test_frames_of_a_video_that_cannot_be_decoded_are_passed_over(tmp_path, monkeypatch):
    class Video:
        """Five frames, of which OpenCV reports the second as read although there is no picture."""

        def __init__(self, path):
            self.frame = -1

        def isOpened(self):
            return True

        def grab(self):
            self.frame += 1
            return self.frame < 5

        def retrieve(self):
            return True, None if self.frame == 1 else np.full((24, 32, 3), self.frame, np.uint8)

        def release(self):
            pass

    monkeypatch.setattr("conversion.video_frames.cv2.VideoCapture", Video)
    assert len(extract_frames(tmp_path / "a.avi", tmp_path / "frames", 10)) == 4
