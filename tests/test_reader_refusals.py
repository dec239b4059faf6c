"""Files that are damaged, hostile or nonsense: every reader answers with one clear message, and takes no memory for it."""

import io
import json
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from colmap_scene import write_photograph
from PIL import Image
from plyfile import PlyData, PlyElement
from test_transforms import POSES

from evaluation.labels import read_3d_ovs, read_lerf_ovs
from features.grid_store import GridStore
from features.segment_store import SegmentStore
from scene.colmap import read_model
from scene.dataset import load_scene
from scene.gaussian_files import load_gaussians
from scene.photographs import check_photograph
from scene.point_cloud import read_point_cloud
from scene.transforms import read_nerfstudio
from workspace import InputError, SceneFolder, load_array, load_member, read_json
from workspace.record_types import FeatureSettings
from workspace.tensor_files import load_tensors


def refused(reader, path, expected):
    """The message: one, that names the file and holds `expected`."""
    with pytest.raises(InputError) as error:
        reader(path)
    text = str(error.value)
    assert str(path) in text or path.name in text
    assert re.search(expected, text), text
    return text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b"9" * 5_000, "does not fit in 64 bits"),
        (b"[-9223372036854775809]", "does not fit in 64 bits"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"[1e999]", "beyond the largest number"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b'"\xff"', "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_json(tmp_path, content, expected):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    refused(read_json, path, expected)


def test_json_numbers_at_the_limits_are_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[9223372036854775807, -9223372036854775808, 1e308, "\\ud83d\\ude00"]')
    assert read_json(path) == [2**63 - 1, -(2**63), 1e308, "😀"]


def npy(array=None, header=None):
    file = io.BytesIO()
    if header is not None:
        text = header.encode() + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    np.save(file, array)
    return file.getvalue()


NPY_CASES = [
    (npy(header="{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"), "declares float32"),
    (npy(header="{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}"), "expected numbers"),
    (npy(header="{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999)}"), "not a readable"),
    (npy(header="{'descr': '<f4', 'fortran_order': False, 'shape': (3"), "not a readable"),  # numpy's TokenError
    (npy(header="(" * 5000), "not a readable"),  # its MemoryError
    (npy(header="{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "expected numbers"),
    (npy(np.array(["text"])), "expected numbers"),
    (npy(np.zeros(3, np.complex64)), "expected numbers"),
    (npy(np.zeros(3))[:-1], "24 bytes; 23 are there"),
    (b"", "no .npy header"),
]


@pytest.mark.parametrize(("content", "expected"), NPY_CASES)
def test_arrays(tmp_path, content, expected):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    refused(load_array, path, expected)


def test_an_archive_named_npy_is_called_that(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros(3))
    path = (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    refused(load_array, path, "zip archive")


def zipped(path, content, method=zipfile.ZIP_DEFLATED, name="arr_0.npy"):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


@pytest.mark.parametrize(("content", "expected"), NPY_CASES)
def test_members_of_archives(tmp_path, content, expected):
    path = tmp_path / "a.npz"
    zipped(path, content)
    refused(lambda p: load_member(p, "arr_0"), path, expected)


def _patched(path, offset_in_entry, value):
    """The directory entry of the only member, with two bytes changed."""
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + offset_in_entry : start + offset_in_entry + 2] = struct.pack("<H", value)
    path.write_bytes(content)


def test_archives_that_are_damaged_encrypted_unknown_or_swollen(tmp_path):
    path = tmp_path / "a.npz"

    def read(p):
        return load_member(p, "arr_0")

    array = npy(np.random.default_rng(0).normal(size=400))
    zipped(path, array)
    assert len(read(path)) == 400
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    refused(read, path, "not a readable")  # zlib.error
    for offset, value in ((8, 1), (10, 77)):  # encrypted; a compression nobody knows
        zipped(path, array)
        _patched(path, offset, value)
        refused(read, path, "not a readable")
    zipped(path, array, name="other.npy")
    refused(read, path, "holds no arr_0, but other.npy")
    path.write_bytes(b"PK broken")
    refused(read, path, "not a zip file")
    huge = npy(header=f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**29},)}}") + bytes(2**29)
    zipped(path, huge)
    assert path.stat().st_size < 2**20
    refused(read, path, "expected at most 268 MB")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(np.float32(3), r"found \[\]"), (np.zeros((2, 3)), r"found \[2, 3\]"), (np.full((4, 2, 2), 7e4), "up to 65504")],
)
def test_foreign_grids(tmp_path, tokens, expected):
    scene = SceneFolder(tmp_path)
    scene.dino_features.mkdir()
    np.savez(scene.foreign_patch_grid("a"), tokens)
    store = GridStore(scene, FeatureSettings("dino"))
    refused(lambda _: store.read("a"), scene.foreign_patch_grid("a"), expected)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**32, np.int64), (2**32 - 1, np.uint32), (2**63, np.uint64), (np.inf, np.float32), (np.nan, np.float32)],
)
def test_segment_maps_are_checked_before_they_are_cast(tmp_path, value, dtype):
    scene = SceneFolder(tmp_path)
    scene.language_features.mkdir()
    np.save(scene.segment_embeddings("a"), np.eye(2, 4, dtype=np.float32))
    np.save(scene.segment_maps("a"), np.full((4, 2, 2), value, dtype))
    refused(
        lambda _: SegmentStore(scene, FeatureSettings("sam_clip")).read("a"),
        scene.segment_maps("a"),
        "expected indices from -1 to 1",
    )


def _billions():
    nested = [0]
    for _ in range(40):
        nested = [nested] * 10
    return nested


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: torch.zeros(1).expand(2_000_000_000), "declares 8000.0 MB of numbers"),
        (lambda: {"a": torch.zeros(3, 3).to_sparse()}, "holds a sparse tensor"),
        (lambda: [torch.zeros(3, device="meta")], "holds a meta tensor"),
        (lambda: torch._empty_affine_quantized([3], scale=1.0, zero_point=0, dtype=torch.qint8), "holds a quantised tensor"),
        (_billions, "declares [0-9]{30,} entries"),
    ],
)
def test_tensors(tmp_path, content, expected, is_zip):
    path = tmp_path / "a.pth"
    torch.save(content(), path, _use_new_zipfile_serialization=is_zip)
    refused(lambda p: load_tensors(p, "a head", "Fetch it again."), path, expected)


def test_a_repacked_checkpoint_is_not_unpacked(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(torch.zeros(1_000_000), path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    refused(lambda p: load_tensors(p, "a head", "Fetch it again."), path, "declares 4.0 MB of entries")


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


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


def checkpoint(language=None, iteration=7, degree=0, n=5, **changes):
    raw = {
        "xyz": torch.zeros(n, 3), "dc": torch.zeros(n, 1, 3), "rest": torch.zeros(n, 0, 3), "scales": torch.zeros(n, 3),
        "quats": torch.ones(n, 4), "opacity": torch.zeros(n, 1),
    } | changes  # fmt: skip
    state = (degree, *raw.values(), *(() if language is None else (language,)), *([torch.zeros(n)] * 3), {}, 1.0)
    return state, iteration


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"language": "text"}, "language feature is of str"),
        ({"language": torch.full((5, 3), torch.nan)}, "language feature"),
        ({"language": torch.zeros(4, 3)}, "language feature"),
        ({"iteration": None}, "iteration is 'None'"),
        ({"iteration": float("nan")}, "iteration is nan"),
        ({"iteration": "7"}, "iteration is '7'"),
        ({"degree": float("inf")}, "SH degree is inf"),
        ({"degree": 3}, "active SH degree 3"),
        ({"xyz": torch.zeros(5, 3, dtype=torch.complex64)}, "means is of torch.complex64"),
        ({"xyz": torch.zeros(5, 3).to_sparse()}, "sparse"),
        ({"xyz": torch.zeros(5, 3, device="meta")}, "meta"),
        ({"xyz": torch.full((5, 3), 1e30)}, "5 of 5 Gaussians are further or larger"),
        ({"scales": torch.full((5, 3), 100.0)}, "5 of 5 Gaussians are further or larger"),
        ({"n": 0}, "holds no Gaussians"),
    ],
)
def test_checkpoints_of_gaussians(tmp_path, changes, expected):
    path = tmp_path / "chkpnt7.pth"
    torch.save(checkpoint(), path)
    assert len(load_gaussians(path)) == 5
    torch.save(checkpoint(**changes), path)
    refused(load_gaussians, path, expected)


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
