"""Labels that are damaged, hostile or nonsense: every reader answers with one clear message, and takes no memory for it."""

import json

import numpy as np
import pytest
from damaged_files import png, refused

from evaluation.labels import read_3d_ovs, read_lerf_ovs

OUTLINE = {"category": "mug", "segmentation": [[0, 0], [9, 0], [9, 9]], "bbox": [0, 0, 9, 9]}


def labels(info=None, **changes):
    return json.dumps({"info": {"width": 20, "height": 10} | (info or {}), "objects": [OUTLINE | changes]})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (labels(segmentation=[[]]), "not a LERF-OVS label file"),
        (labels(segmentation=[0]), "not a LERF-OVS label file"),
        (labels(segmentation=[[[0, 0, 0]]]), "not a LERF-OVS label file"),
        (labels(segmentation=[[0, 0], [1e300, 0], [9, 9]]), "is further than"),
        (labels(segmentation=[[0, 0], [None, 0], [9, 9]]), "is further than"),  # NaN, which OpenCV fills for minutes
        (labels(bbox=[9, 9, 0, 0]), "reversed box"),
        (labels(bbox=[0, 0, 10**30, 9]), "64 bits"),
        (labels(info={"width": 1.5}), "1.5"),
        (labels(info={"width": 10**9}), "width 1000000000"),
        (labels(info={"width": None}), "not a LERF-OVS label file"),
        (labels(category=["mug"]), "not a LERF-OVS label file"),
        (labels().replace("9", "Infinity", 1), "Infinity is not a number"),
        ('{"info": 3, "objects": 4}', "not a LERF-OVS label file"),
        ("[]", "not a LERF-OVS label file"),
    ],
)
def test_outlines(tmp_path, content, expected):
    path = tmp_path / "a.json"
    path.write_text(content)
    refused(lambda p: read_lerf_ovs(p.parent), path, expected)


def test_an_outline_far_outside_its_picture_is_clipped_before_it_is_filled(tmp_path):
    """OpenCV fills coordinates of 1e9 for a minute. What is inside the picture stays as it is."""
    path = tmp_path / "a.json"
    path.write_text(labels(segmentation=[[5, -9e8], [15, -9e8], [15, 9e8], [5, 9e8]]))
    (frame,) = read_lerf_ovs(tmp_path)
    for width, height in ((20, 10), (40, 20)):
        mask = frame.mask("mug", width, height)
        assert mask.shape == (height, width)
        columns = np.flatnonzero(mask.all(0))
        assert columns.min() == pytest.approx(5.25 * width / 20, abs=1) and columns.max() == pytest.approx(15 * width / 20, abs=1)
        assert mask.any(0).sum() == len(columns)


@pytest.mark.parametrize(
    ("classes", "mask", "expected"),
    [
        ("Bär\n".encode("latin-1"), png(8, 8), "not UTF-8"),
        (b"mug\n", b"", "empty"),
        (b"mug\n", png(30_000, 30_000), "30000x30000"),
    ],
)
def test_painted_masks(tmp_path, classes, mask, expected):
    (tmp_path / "00").mkdir()
    (tmp_path / "classes.txt").write_bytes(classes)
    (tmp_path / "00" / "mug.png").write_bytes(mask)

    def read(_):
        _, (frame,) = read_3d_ovs(tmp_path)
        frame.mask("mug", 8, 8)

    refused(read, tmp_path / ("classes.txt" if "UTF" in expected else "mug.png"), expected)
