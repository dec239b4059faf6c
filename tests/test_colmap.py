"""COLMAP models: every form COLMAP writes, read as COLMAP itself reads them."""

import numpy as np
import pytest
from colmap_scene import write_scene

from scene.colmap import read_model
from workspace import InputError


@pytest.mark.parametrize("form", ["binary", "text"])
@pytest.mark.parametrize(("model", "params"), [("PINHOLE", (60.0, 61.0, 31.0, 25.5)), ("SIMPLE_PINHOLE", (60.0, 31.0, 25.5))])
def test_model_agrees_with_colmap(tmp_path, form, model, params):
    expected = write_scene(tmp_path, model, params, form)
    found = read_model(tmp_path / "sparse" / "0")
    assert [c.pinhole() for c in found.cameras.values()] == [(60.0, params[-3], 31.0, 25.5)]
    poses = {image.name: image.cam_from_world().matrix() for image in expected.images.values()}
    assert sorted(image.name for image in found.images) == sorted(poses)
    for image in found.images:
        # text keeps 17 digits, the quaternion is normalised once more
        np.testing.assert_allclose(image.world_to_camera[:3], poses[image.name], atol=1e-12)
    xyz = np.array([p.xyz for p in expected.points3D.values()])
    rgb = np.array([p.color for p in expected.points3D.values()])
    ours, theirs = np.lexsort(found.xyz.T), np.lexsort(xyz.T.astype(np.float32))
    np.testing.assert_allclose(found.xyz[ours], xyz[theirs], rtol=1e-6)  # float32
    np.testing.assert_array_equal(found.rgb[ours], rgb[theirs])


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "OPENCV", "THIN_PRISM_FISHEYE", "EUCM"])
def test_binary_ids_of_distorted_models_are_colmaps(tmp_path, model):
    import pycolmap

    camera = pycolmap.Camera.create_from_model_name(1, model, 60.0, 64, 48)
    reconstruction = pycolmap.Reconstruction()
    reconstruction.add_camera_with_trivial_rig(camera)
    reconstruction.write_binary(tmp_path)
    (found,) = read_model(tmp_path).cameras.values()
    assert (
        found.model == model
        and found.params == tuple(camera.params)
        and (found.largest_shift() == 0) == (model in ("SIMPLE_RADIAL", "OPENCV"))
    )


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("keep", [4, 0.6])
def test_cut_file_is_named(tmp_path, name, keep):
    write_scene(tmp_path)
    path = tmp_path / "sparse" / "0" / name
    data = path.read_bytes()
    path.write_bytes(data[: keep if keep == 4 else int(keep * len(data))])
    with pytest.raises(InputError, match=name):
        read_model(path.parent)


def test_text_image_without_keypoints_does_not_swallow_the_next(tmp_path):
    write_scene(tmp_path, form="text")
    path = tmp_path / "sparse" / "0" / "images.txt"
    lines = path.read_text().splitlines()
    lines = [line if i % 2 == 0 else "" for i, line in enumerate(line for line in lines if not line.startswith("#"))]
    path.write_text("\r\n".join(lines) + "\r\n")
    assert len(read_model(path.parent).images) == 6


def test_missing_table_is_named(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "sparse" / "0" / "points3D.bin").unlink()
    with pytest.raises(InputError, match="no points3D.bin"):
        read_model(tmp_path / "sparse" / "0")


def test_real_models(shared):
    for name, images, points in (("fox", 50, 13_665), ("bonsai", 146, 38_000)):
        model = read_model(shared / "data" / name / "sparse" / "0")
        assert (len(model.images), len(model.xyz)) == (images, points)
