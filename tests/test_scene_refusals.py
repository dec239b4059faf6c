"""Photographs, cameras and points that are damaged, hostile or nonsense: every reader answers with one clear message, and
takes no memory for it."""

import json
import struct

import numpy as np
import pytest
from colmap_scene import write_photograph
from damaged_files import png, refused
from PIL import Image
from plyfile import PlyData, PlyElement
from test_transforms import POSES

from scene.colmap import read_model
from scene.dataset import load_scene
from scene.photographs import check_photograph
from scene.point_cloud import read_point_cloud
from scene.transforms import read_nerfstudio
from workspace import InputError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(harm) print\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(30_000, 30_000), "declares 30000x30000 pixels"),
        (png(2_000_000_000, 2), "declares 2000000000x2 pixels|broken|invalid"),
        (png(8, 8)[:40], "a.png"),
        (EPS, "no JPEG, PNG, BMP, TIFF or WebP"),
        (b"", "empty"),
    ],
)
def test_photographs(tmp_path, content, expected):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refused(check_photograph, path, expected)


def test_postscript_never_reaches_ghostscript(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was called"))
    path = tmp_path / "a.jpg"
    path.write_bytes(EPS)
    refused(check_photograph, path, "no JPEG")


def test_a_photograph_with_damaged_exif_is_used_without_it(tmp_path):
    from conversion.capture import inspect, make_upright

    path = tmp_path / "a.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\x69\x87\x04\0\x01\0\0\0\xff\xff\xff\x7f"
    Image.new("RGB", (16, 12)).save(path, exif=exif)
    (photograph,) = inspect(tmp_path, ["a.jpg"])
    assert photograph.size == (16, 12) and photograph.lens == ("", "", "", "")
    assert make_upright(tmp_path, [photograph], tmp_path / "upright") == ["a.jpg"]
    assert Image.open(tmp_path / "upright" / "a.jpg").size == (16, 12)


def _colmap(folder, camera="1 PINHOLE 16 12 20 20 8 6", image="1 1 0 0 0 {i} 0 0 1 {i}.png", point="1 0 0 1 9 9 9 0.1"):
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    for i in range(3):
        write_photograph(folder / "images" / f"{i}.png", (16, 12))
    (sparse / "cameras.txt").write_text(camera + "\n")
    (sparse / "images.txt").write_text("".join(image.replace("{i}", str(i)) + "\n\n" for i in range(3)))
    (sparse / "points3D.txt").write_text(f"{point}\n2 0 0 1 9 9 9 0.1\n3 0 1 1 9 9 9 0.1\n4 1 0 1 9 9 9 0.1\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"camera": "1 PINHOLE 16 12 20 20 nan 6"}, "principal point"),
        ({"camera": "1 PINHOLE 16 12 20 20 8 inf"}, "principal point"),
        ({"camera": "1 PINHOLE 16 12 1e200 20 8 6"}, "focal lengths"),
        ({"camera": "1 PINHOLE 99999999999999999999 12 20 20 8 6"}, "99999999999999999999x12"),
        ({"camera": "1 PINHOLE 0 12 20 20 8 6"}, "0x12"),
        ({"image": "1 1 0 0 0 1e200 0 0 1 {i}.png"}, "pose"),
        ({"image": "1 1e200 0 0 0 {i} 0 0 1 {i}.png"}, "rotation quaternion"),
        ({"point": "1 0 0 1 256 9 9 0.1"}, "colour is outside 0 to 255"),
        ({"point": "1 0 0 1 -1 9 9 0.1"}, "colour is outside 0 to 255"),
    ],
)
def test_colmap_text(tmp_path, change, expected):
    _colmap(tmp_path, **change)
    refused(load_scene, tmp_path, expected)


@pytest.mark.parametrize(
    ("name", "expected"), [(300 * "n", "longer than 255 bytes"), (".", "it is empty"), (1100 * "n/", "longer")]
)
def test_colmap_names_that_no_file_can_have(tmp_path, name, expected):
    _colmap(tmp_path, image="1 1 0 0 0 {i} 0 0 1 " + name)
    with pytest.raises(InputError, match=f"Image name(.|\n)*{expected}"):
        load_scene(tmp_path)


def test_points_too_far_to_compute_with_are_left_out_and_none_is_an_error(tmp_path, caplog):
    _colmap(tmp_path / "one", point="1 1e30 0 1 9 9 9 0.1")
    assert len(load_scene(tmp_path / "one").points) == 3
    assert "1 of 4 points" in caplog.text
    _colmap(tmp_path / "all")
    for name in ("2 0 0", "3 0 1", "4 1 0", "1 0 0"):
        path = tmp_path / "all" / "sparse" / "0" / "points3D.txt"
        path.write_text(path.read_text().replace(name, name[:2] + "nan nan"))
    refused(load_scene, tmp_path / "all", "None of the 4 points")


def test_a_track_longer_than_the_file(tmp_path):
    _colmap(tmp_path)
    sparse = tmp_path / "sparse" / "0"
    (sparse / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 1, 1, 16, 12, 20, 20, 8, 6))
    (sparse / "images.bin").write_bytes(struct.pack("<Q", 0))
    point = struct.pack("<Q3d3Bd", 1, 0, 0, 1, 9, 9, 9, 0.1)
    (sparse / "points3D.bin").write_bytes(struct.pack("<Q", 1) + point + struct.pack("<Q", 2**64 - 1))
    refused(read_model, sparse, "seen 18446744073709551615 times")


def test_cameras_too_far_to_place_points_among(tmp_path):
    frames = []
    for i, pose in enumerate(POSES):
        write_photograph(tmp_path / f"{i}.png", (16, 12))
        far = [[*row[:3], (-1) ** i * 1.5e308] if k < 3 else row for k, row in enumerate(pose)]
        frames.append({"file_path": f"{i}.png", "transform_matrix": far})
    table = {"fl_x": 20.0, "fl_y": 20.0, "cx": 8, "cy": 6, "w": 16, "h": 12, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match=r"0\.png(.|\n)*Expected finite numbers below"):
        load_scene(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"camera_angle_x": 0, "fl_x": None}, "camera_angle_x is 0"),
        ({"camera_angle_x": 4, "fl_x": None}, "camera_angle_x is 4"),
        ({"w": 10**15}, "w is 10"),
        ({"h": 10**30}, "64 bits"),
        ({"fl_x": True}, "fl_x is True"),
        ({"cx": 1e300}, "principal point"),
    ],
)
def test_transforms(tmp_path, change, expected):
    for i in range(len(POSES)):
        write_photograph(tmp_path / f"{i}.png", (16, 12))
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose} for i, pose in enumerate(POSES)]
    table = {"fl_x": 20.0, "cx": 8, "cy": 6, "w": 16, "h": 12, "frames": frames} | change
    (tmp_path / "transforms.json").write_text(json.dumps({k: v for k, v in table.items() if v is not None}))

    def read(path):
        read_nerfstudio(path.parent)
        load_scene(path.parent)

    refused(read, tmp_path / ("0.png" if "principal" in expected else "transforms.json"), expected)


def ply(*properties, rows="0 0 0\n", count=1, form="ascii"):
    head = ["ply", f"format {form} 1.0", f"element vertex {count}", *(f"property {p}" for p in properties), "end_header", ""]
    return "\n".join(head).encode() + (rows if isinstance(rows, bytes) else rows.encode())


XYZ, RGB = ("float x", "float y", "float z"), ("int red", "int green", "int blue")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (ply(*XYZ, *RGB, rows="0 0 0 999 0 0\n"), "colours from 0 to 999"),
        (ply(*XYZ, *RGB, rows="0 0 0 -1 0 0\n"), "colours from -1 to 0"),
        (ply(*XYZ, "float red", "float green", "float blue", rows="0 0 0 128 0 0\n"), "0 to 1 of floats"),
        (ply(*XYZ, count=10**13), "declares 10000000000000 elements"),
        (ply(*XYZ, count=-1), "declares -1"),
        (ply(*XYZ, count=10**12, form="binary_little_endian", rows=bytes(12)), "do not fit"),
        (ply(*XYZ, count=2, form="binary_big_endian", rows=bytes(23)), "do not fit in 23 bytes"),
        (ply("list uchar float x", "float y", "float z"), "its vertices have lists"),
        (ply(*XYZ, "float x"), "a property"),
        (ply(*XYZ, rows="0 0 text\n"), "not a PLY file"),
        (ply(*XYZ, rows="0 0 0\n", count=2), "fit|1 of 2 vertices"),
        (ply("float y", rows="0\n"), "without x, y, z"),
        (ply(*XYZ, count=0, rows=""), "no vertices"),
        (b"ply\nformat ascii 1.0\nelement vertex 1", "header has no end"),
        (b"", "header has no end"),
        (b"ply\n\xff\xfe\nend_header\n", "not a PLY file"),
    ],
)
def test_point_clouds(tmp_path, content, expected):
    path = tmp_path / "a.ply"
    path.write_bytes(content)
    refused(read_point_cloud, path, expected)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_a_mesh_of_another_program_gives_its_vertices(tmp_path, form):
    """Written by plyfile: vertices after another element, before faces that are lists."""
    vertices = np.array(
        [(0, 1, 2, 9, 8, 7), (3, 4, 5, 6, 5, 4)], [*((n, "f8") for n in "xyz"), *((n, "u1") for n in ("red", "green", "blue"))]
    )
    faces = np.empty(1, [("vertex_indices", "O")])
    faces[0] = (np.array([0, 1, 1], np.int32),)
    other = np.array([(1, 2), (3, 4)], [("a", "i2"), ("b", "f4")])
    elements = [
        PlyElement.describe(other, "thing"),
        PlyElement.describe(vertices, "vertex"),
        PlyElement.describe(faces, "face", len_types={"vertex_indices": "u1"}, val_types={"vertex_indices": "i4"}),
    ]
    order = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}[form]
    PlyData(elements, text=form == "ascii", byte_order=order, comments=["element vertex 99"]).write(tmp_path / "a.ply")
    xyz, rgb = read_point_cloud(tmp_path / "a.ply")
    assert xyz.tolist() == [[0, 1, 2], [3, 4, 5]] and rgb.tolist() == [[9, 8, 7], [6, 5, 4]]
