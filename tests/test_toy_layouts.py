"""Toy worlds in the layouts of public benchmarks: our readers take them as they take the data."""

import shutil

import numpy as np
import pytest

from evaluation.labels import read_3d_ovs, read_lerf_ovs
from evaluation.protocol import match_by_name
from evaluation.protocols import mipnerf360_goi, scannet
from evaluation.protocols.mipnerf360_gags import gags_views
from scene.dataset import load_scene
from scene.point_cloud import read_vertices
from toy_world import layouts
from toy_world.layouts import SCENES, LayoutConfig, write_layout
from workspace import InputError, atomic

SIZE = {"width": 96, "height": 72, "views": 9, "objects": 5, "points": 300}


def written(folder, benchmark):
    name = SCENES[benchmark][1]
    write_layout(LayoutConfig(folder, benchmark, (name,), **SIZE))
    return folder, name


def keys_of(folder):
    scene = load_scene(folder)
    assert len(scene.train) == 9 and len(scene.points) > 100
    return [camera.name for camera in scene.train]


@pytest.mark.parametrize("benchmark", ["lerf_ovs", "mipnerf360_gags"])
def test_outlines_match_their_images(tmp_path, benchmark):
    root, name = written(tmp_path, benchmark)
    frames, keys = read_lerf_ovs(root / "label" / name), keys_of(root / name)
    names = [frame.name for frame in frames]
    assert names == ["frame_00001", "frame_00009"]
    if benchmark == "lerf_ovs":
        assert match_by_name(names, keys) == dict(zip(names, names, strict=True))
    else:
        assert gags_views(names, keys, keys) == {"frame_00001": "DSCF4600", "frame_00009": "DSCF4608"}
    assert all(frame.phrases and (frame.width, frame.height) == (96, 72) for frame in frames)


def test_classes_of_3d_ovs_cover_the_picture(tmp_path):
    root, name = written(tmp_path, "3d_ovs")
    classes, frames = read_3d_ovs(root / name / "segmentations")
    match_by_name([frame.name for frame in frames], keys_of(root / name))
    assert {"floor", "wall"} < set(classes)
    masks = np.stack([frames[0].mask(phrase, 48, 36) for phrase in frames[0].phrases])
    assert (masks.sum(0) == 1).all()


def test_masks_of_goi_belong_to_their_prompts(tmp_path):
    root, name = written(tmp_path, "mipnerf360_goi")
    frames = mipnerf360_goi.read(root / "label" / name).frames
    match_by_name([frame.name for frame in frames], keys_of(root / name))
    assert [frame.name for frame in frames] == ["DSCF4600", "DSCF4608"]
    assert all(frame.mask(phrase, 96, 72).any() for frame in frames for phrase in frame.phrases)


def test_a_scan_has_a_label_for_every_point_that_training_starts_from(tmp_path):
    root, name = written(tmp_path, "scannet")
    scene = load_scene(root / name, eval=True)
    assert (len(scene.train), len(scene.test)) == (7, 2)
    vertices = read_vertices(root / name / f"{name}_vh_clean_2.labels.ply")
    np.testing.assert_array_equal(scene.points, np.stack([vertices[axis] for axis in "xyz"], 1))
    labels = set(np.unique(vertices["label"]))
    assert {1, 7} <= labels <= {1, 2, 7, 40}
    # The wall encloses the room and the table stands in its middle.
    distance = np.linalg.norm(scene.points[:, :2], axis=1)
    assert distance[vertices["label"] == 1].min() > distance[vertices["label"] == 7].max()


def test_scene_lists_are_those_of_the_protocols():
    assert SCENES["scannet"] == scannet.SCENES


def test_a_finished_scene_stays_and_an_interrupted_one_is_written_again(tmp_path):
    root, name = written(tmp_path, "lerf_ovs")
    photograph, marker = root / name / "images" / "frame_00003.jpg", root / name / "toy_world.json"
    before = photograph.stat().st_mtime_ns
    written(root, "lerf_ovs")
    assert photograph.stat().st_mtime_ns == before
    marker.write_text(marker.read_text().replace("true", "false"))
    photograph.unlink()
    written(root, "lerf_ovs")
    assert photograph.exists()
    with pytest.raises(InputError, match="other settings"):
        write_layout(LayoutConfig(root, "lerf_ovs", (name,), **SIZE | {"points": 400}))


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    (tmp_path / "ramen").mkdir()
    with pytest.raises(InputError, match="not a generated scene"):
        written(tmp_path, "lerf_ovs")
    with pytest.raises(InputError, match="kitchen"):
        write_layout(LayoutConfig(tmp_path, "lerf_ovs", ("kitchen",), **SIZE))


@pytest.mark.parametrize("benchmark", ["lerf_ovs", "3d_ovs", "mipnerf360_goi", "mipnerf360_gags"])
def test_a_world_written_in_the_place_of_another_keeps_none_of_its_labels(tmp_path, benchmark):
    name = SCENES[benchmark][0]
    longer, other = {"seed": 0, "views": 17}, {"seed": 7}
    for folder, worlds in ((tmp_path / "twice", (longer, other)), (tmp_path / "once", (other,))):
        for world in worlds:
            shutil.rmtree(folder / name, ignore_errors=True)  # as the refusal of another world advises
            write_layout(LayoutConfig(folder, benchmark, (name,), **SIZE | world))
    listed = [{path.relative_to(root) for path in root.rglob("*")} for root in (tmp_path / "twice", tmp_path / "once")]
    assert listed[0] == listed[1]


def test_labels_of_an_interrupted_write_do_not_survive_the_next(tmp_path, monkeypatch):
    name, (phrase, rest) = SCENES["mipnerf360_goi"][0], ("a thing of yesterday", "masks/DSCF4600.png")
    config = LayoutConfig(tmp_path, "mipnerf360_goi", (name,), **SIZE)

    def interrupted(root, *_):
        with atomic(root / "label" / name / phrase / rest) as temporary:
            temporary.touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(layouts._WRITERS, "mipnerf360_goi", interrupted)
        write_layout(config)
    write_layout(config)
    assert len(list((tmp_path / "label" / name).iterdir())) > 1 and not (tmp_path / "label" / name / phrase).exists()


def test_labels_that_were_not_generated_are_not_removed(tmp_path):
    label = tmp_path / "label" / "ramen" / "frame_00006.json"
    label.parent.mkdir(parents=True)
    label.write_text("{}")
    with pytest.raises(InputError, match="not of a generated scene"):
        written(tmp_path, "lerf_ovs")
    assert label.exists() and not (tmp_path / "ramen").exists()


def test_a_label_that_was_added_to_generated_ones_stays(tmp_path):
    root, name = written(tmp_path, "lerf_ovs")
    added = root / "label" / name / "frame_00006.json"
    added.write_text("{}")
    shutil.rmtree(root / name)
    with pytest.raises(InputError, match="not of a generated scene"):
        written(root, "lerf_ovs")
    assert added.read_text() == "{}"
    added.unlink()
    written(root, "lerf_ovs")


@pytest.mark.parametrize(
    "wrong",
    [{"views": 0}, {"objects": 25}, {"width": 8}, {"height": 8}, {"width": 0}, {"seed": -1}, {"points": 3}],
    ids=str,
)
def test_settings_without_a_world_are_refused_and_leave_nothing(tmp_path, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"--{name} {value}: expected"):
        write_layout(LayoutConfig(tmp_path / "data", "lerf_ovs", ("ramen",), **SIZE | wrong))
    assert not (tmp_path / "data").exists()


def test_a_scan_of_more_points_than_pixels_is_refused(tmp_path):
    with pytest.raises(InputError, match="--points 513: a scan has at most one"):
        write_layout(LayoutConfig(tmp_path / "data", "scannet", width=16, height=16, views=2, points=513))
    write_layout(LayoutConfig(tmp_path / "data", "scannet", ("scene0000_00",), width=16, height=16, views=2, points=512))
