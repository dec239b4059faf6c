"""Ground truth: both benchmark formats, the real files' irregularities, and matching by name."""

import json

import cv2
import numpy as np
import pytest
import torch

from evaluation.labels import read_3d_ovs, read_lerf_ovs
from evaluation.protocol import match_by_name
from workspace import InputError


def write_label(path, objects, width=100, height=80):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"info": {"name": path.stem, "width": width, "height": height}, "objects": objects}), encoding="utf-8"
    )


def square(category, x1, y1, x2, y2):
    return {"category": category, "segmentation": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]], "bbox": [x1, y1, x2, y2]}


def test_real_label_files(shared):
    ladle, knives = read_lerf_ovs(shared / "data" / "labels_real" / "lerf_ovs_waldo_kitchen")
    assert (ladle.name, ladle.width, ladle.height) == ("frame_00066", 985, 725)
    assert list(ladle.categories) == ["plastic ladle", "refrigerator", "pot", "spatula"]
    assert list(knives.categories) == ["knife", "ketchup", "cabinet"]
    assert knives.boxes("knife", 985, 725).shape == (5, 4)
    x1, y1, x2, y2 = knives.boxes("knife", 985, 725).T
    assert (x2 > x1).all() and (y2 > y1).all()
    mask = knives.mask("knife", 985, 725)
    rows, columns = np.nonzero(mask)
    # A filled outline reaches the edges of the stored boxes, to the pixel that truncation may cost.
    assert abs(columns.min() - x1.min()) <= 1 and abs(rows.max() - y2.max()) <= 1


def test_objects_of_one_category_join(tmp_path):
    write_label(
        tmp_path / "frame_00001.json", [square("mug", 5, 5, 14, 14), square("hat", 50, 50, 60, 60), square("mug", 30, 5, 39, 14)]
    )
    (frame,) = read_lerf_ovs(tmp_path)
    assert frame.mask("mug", 100, 80).sum() == 200
    np.testing.assert_array_equal(frame.boxes("mug", 100, 80), [[5, 5, 14, 14], [30, 5, 39, 14]])


def test_outlines_beyond_the_picture_are_cut_at_its_border(tmp_path):
    write_label(tmp_path / "a.json", [square("wall", -20, -5, 200, 9)])
    (frame,) = read_lerf_ovs(tmp_path)
    mask = frame.mask("wall", 100, 80)
    assert mask[:10].all() and not mask[10:].any()


def test_labels_of_another_size_cover_the_same_part(tmp_path):
    write_label(tmp_path / "a.json", [square("box", 20, 20, 59, 59)])
    (frame,) = read_lerf_ovs(tmp_path)
    np.testing.assert_allclose(frame.boxes("box", 50, 40), [[9.75, 9.75, 29.25, 29.25]])
    for width, height in ((50, 40), (200, 160)):
        # A boundary of one pixel around a square of 20 or 80: up to 10 % of its area.
        assert frame.mask("box", width, height).mean() == pytest.approx(0.2, rel=0.12)
    assert frame.hit("box", torch.tensor([[3, 3], [29, 10]]), 50, 40)
    assert not frame.hit("box", torch.tensor([[30, 10]]), 50, 40)


def test_windows_line_ends_byte_order_marks_and_nested_outlines(tmp_path):
    nested = {"category": " Schüssel ", "segmentation": [[[1, 1], [9, 1], [9, 9]], [[20, 1], [29, 1], [29, 9]]], "iscrowd": False}
    text = json.dumps({"info": {"width": 40, "height": 20}, "objects": [nested]}, indent=1, ensure_ascii=False)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.json").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (frame,) = read_lerf_ovs(tmp_path)
    assert frame.name == "left/a"
    np.testing.assert_array_equal(frame.boxes("Schüssel", 40, 20), [[1, 1, 29, 9]])
    assert frame.mask("Schüssel", 40, 20)[2, 25]


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, float("inf"), 4]},
        {"segmentation": []},
        {"segmentation": "none"},
        {"segmentation": [[1, float("nan")], [2, 3]]},
        {"category": " "},
    ],
)
def test_malformed_labels_are_named(tmp_path, change):
    write_label(tmp_path / "bad.json", [square("mug", 1, 1, 5, 5) | change])
    with pytest.raises(InputError, match="bad.json"):
        read_lerf_ovs(tmp_path)


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(InputError, match="--labels"):
        read_lerf_ovs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="classes.txt"):
        read_3d_ovs(tmp_path)


def test_painted_masks_are_resized_by_nearest_neighbour(tmp_path):
    (tmp_path / "classes.txt").write_text("red bag\r\nbanana\n\n", encoding="utf-8")
    (tmp_path / "07").mkdir()
    painted = np.zeros((40, 60), np.uint8)
    painted[10:20, 30:60] = 255
    cv2.imwrite(str(tmp_path / "07" / "red bag.png"), painted)
    classes, (frame,) = read_3d_ovs(tmp_path)
    assert classes == ["red bag", "banana"]
    assert list(frame.files) == ["red bag"]  # the banana is not in this picture
    mask = frame.mask("red bag", 120, 80)
    assert mask.shape == (80, 120)
    assert mask[20:40, 60:].all() and mask.sum() == 20 * 60
    assert frame.hit("red bag", torch.tensor([[0, 0], [60, 20]]), 120, 80)
    assert not frame.hit("red bag", torch.tensor([[59, 20]]), 120, 80)


def test_masks_of_unknown_classes_are_named(tmp_path):
    (tmp_path / "classes.txt").write_text("banana\n")
    (tmp_path / "07").mkdir()
    cv2.imwrite(str(tmp_path / "07" / "camera.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="camera"):
        read_3d_ovs(tmp_path)


def test_views_are_matched_by_name_never_by_number():
    keys = ["frame_00002", "left/frame_00041", "right/frame_00050"]
    assert match_by_name(["frame_00041", "frame_00002", "right/frame_00050"], keys) == {
        "frame_00041": "left/frame_00041",
        "frame_00002": "frame_00002",
        "right/frame_00050": "right/frame_00050",
    }


def test_every_unmatched_label_is_listed():
    with pytest.raises(InputError) as error:
        match_by_name(["frame_1", "frame_2", "twin"], ["a/twin", "b/twin", "frame_3"])
    for part in ("'frame_1'", "'frame_2'", "a/twin, b/twin", "frame_3"):
        assert part in str(error.value)
