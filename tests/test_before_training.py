"""What a benchmark's evaluation would refuse is refused before its training, all at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluation.before_training import BenchmarkConfig, check_benchmark
from scene.ply import read_vertices, write_vertices
from toy_world.layouts import SCENES, LayoutConfig, write_layout
from workspace import InputError

SIZE = {"width": 96, "height": 72, "views": 9, "objects": 6, "points": 400}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two scenes of every benchmark, by its name."""
    root = tmp_path_factory.mktemp("data")
    for name, scenes in SCENES.items():
        write_layout(LayoutConfig(root / name, name, scenes[:2], seed=3, **SIZE))
    return root


def config(data, protocol, **changes):
    layout = "lerf_ovs" if protocol == "lerf_ovs_3d" else protocol
    labels = None if layout in ("3d_ovs", "scannet") else data / layout / "label"
    given = {"source_path": data / layout, "scenes": SCENES[layout][:2], "labels": labels, "features": "mini"}
    return BenchmarkConfig(protocol=protocol, **given | changes)


@pytest.mark.parametrize("protocol", SCENES)
def test_a_complete_benchmark_passes_and_every_incomplete_scene_is_named(data, protocol):
    check_benchmark(config(data, protocol))
    check_benchmark(config(data, protocol, features="mini_dense", rule="gags", level="grid"))
    with pytest.raises(InputError, match="Nothing was trained") as error:
        check_benchmark(config(data, protocol, scenes=("none", SCENES[protocol][0], "neither")))
    assert str(data / protocol / "none") in str(error.value) and str(data / protocol / "neither") in str(error.value)
    assert SCENES[protocol][0] not in str(error.value)


@pytest.mark.parametrize("protocol", ["lerf_ovs", "lerf_ovs_3d", "mipnerf360_goi", "mipnerf360_gags"])
def test_a_scene_without_labels_is_named(data, tmp_path, protocol):
    asked = config(data, protocol, phrases="labels")
    shutil.copytree(asked.labels, tmp_path / "label")
    shutil.rmtree(tmp_path / "label" / asked.scenes[1])
    with pytest.raises(InputError) as error:
        check_benchmark(config(data, protocol, phrases="labels", labels=tmp_path / "label"))
    assert str(tmp_path / "label" / asked.scenes[1]) in str(error.value)
    assert str(tmp_path / "label" / asked.scenes[0]) not in str(error.value)


def test_a_folder_without_cameras_is_named(data, tmp_path):
    shutil.copytree(data / "3d_ovs", tmp_path / "d")
    shutil.rmtree(tmp_path / "d" / "bench" / "sparse")
    with pytest.raises(InputError, match=r"No cameras in \S+bench;"):
        check_benchmark(config(data, "3d_ovs", source_path=tmp_path / "d"))


def test_a_scan_needs_its_points_and_labels_and_both_the_same(data, tmp_path):
    root, name = tmp_path / "d", SCENES["scannet"][0]
    shutil.copytree(data / "scannet", root)
    asked = config(data, "scannet", source_path=root)
    points, labels = root / name / "points3d.ply", root / name / f"{name}_vh_clean_2.labels.ply"
    vertices = read_vertices(points)
    for broken, said in ((vertices[:-1], "399 points"), (np.roll(vertices, 1), "in the same order")):
        write_vertices(points, broken)
        with pytest.raises(InputError, match=said):
            check_benchmark(asked)
    for path, said in ((points, f"No file {points}"), (labels, r"holds 0 files \*_vh_clean_2.labels.ply; expected one")):
        path.unlink()
        with pytest.raises(InputError, match=said):
            check_benchmark(asked)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": "mini_dense", "level": "l"}, r"--level l: mini_dense features have grid\. Set LEVEL=grid"),
        ({"level": "grid"}, "--level grid: mini features have s, m, l"),
        ({"rule": "gags"}, r"--rule gags reads one level.*LEVEL=l"),
        ({"features": "dino"}, "--talk2dino_ckpt"),
        ({"features": "dino", "talk2dino_ckpt": Path("none.pth")}, "none.pth"),
        ({"talk2dino_ckpt": Path("head.pth")}, "does not apply"),
    ],
)
def test_settings_that_the_evaluation_would_refuse_are_refused(data, changes, said):
    with pytest.raises(InputError, match=said):
        check_benchmark(config(data, "lerf_ovs", **changes))


def test_a_scene_without_a_published_list_of_phrases_needs_the_labelled_ones(data, tmp_path):
    shutil.copytree(data / "lerf_ovs" / "ramen", tmp_path / "kitchen")
    shutil.copytree(data / "lerf_ovs" / "label" / "ramen", tmp_path / "label" / "kitchen")
    changes = {"source_path": tmp_path, "labels": tmp_path / "label", "scenes": ("kitchen",)}
    with pytest.raises(InputError, match="no published list of phrases for a scene named 'kitchen'"):
        check_benchmark(config(data, "lerf_ovs_3d", **changes))
    check_benchmark(config(data, "lerf_ovs_3d", **changes, phrases="labels"))
