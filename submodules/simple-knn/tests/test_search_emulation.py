"""The CUDA search, executed on the host by the rasterizer's emulation of blocks and warps."""

import ctypes
import shutil
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from simple_knn.morton import build_box_tree
from test_simple_knn import KINDS, brute_force, cloud

PACKAGE = Path(__file__).resolve().parents[1]
EMULATION = PACKAGE.parent / "diff-gaussian-rasterization" / "tests" / "emulation"
COMPILER = shutil.which("g++") or shutil.which("clang++")
MAX_LEVELS = 7

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
    pytest.mark.skipif(not EMULATION.is_dir(), reason="the rasterizer's tests are not beside this package"),
]


class BoxTree(ctypes.Structure):
    _fields_ = (
        ("points", ctypes.c_void_p), ("order", ctypes.c_void_p), ("boxes", ctypes.c_void_p), ("num_points", ctypes.c_int),
        ("num_levels", ctypes.c_int), ("level_size", ctypes.c_int * MAX_LEVELS), ("level_start", ctypes.c_int * MAX_LEVELS),
    )  # fmt: skip


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    library = tmp_path_factory.mktemp("emulated") / "search.so"
    sources = [PACKAGE / "csrc" / "mean_squared_distance.cu", PACKAGE / "tests" / "emulated.cpp"]
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", f"-I{EMULATION}"]
    subprocess.run([COMPILER, *flags, "-x", "c++", *sources, "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))

    def run(points, k):
        tree = build_box_tree(points)
        sizes = tree.level_sizes
        call = BoxTree(
            tree.points.data_ptr(), tree.order.data_ptr(), tree.boxes.data_ptr(), len(points), len(sizes),
            (ctypes.c_int * MAX_LEVELS)(*sizes), (ctypes.c_int * MAX_LEVELS)(*accumulate([0, *sizes[:-1]])),
        )  # fmt: skip
        result = torch.full((len(points),), torch.nan)
        loaded.search(ctypes.byref(call), min(k, len(points) - 1), ctypes.c_void_p(result.data_ptr()))
        return result

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "k"), [(2, 3), (33, 3), (500, 4), (500, 7), (1100, 3)])
def test_matches_brute_force(search, kind, n, k):
    points = cloud(kind, n)
    # float32 differences of coordinates up to 1e3 are exact to 6e-5; the nearest distances here are about 1e-3.
    torch.testing.assert_close(search(points, k), brute_force(points, k).float(), rtol=1e-5, atol=0)
