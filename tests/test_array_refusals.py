"""JSON, arrays and tensors that are damaged, hostile or nonsense: every reader answers with one clear message, and takes no
memory for it."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch
from damaged_files import refused

from features.grid_store import GridStore
from features.segment_store import SegmentStore
from scene.gaussian_files import load_gaussians
from workspace import SceneFolder, load_array, load_member, read_json
from workspace.record_types import FeatureSettings
from workspace.tensor_files import load_tensors


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
