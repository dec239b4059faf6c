"""A scene folder as training sees it, and every way it can be wrong."""

import shutil

import numpy as np
import pytest
from colmap_scene import HEIGHT, WIDTH, write_photograph, write_scene
from PIL import Image

from scene.dataset import load_image, load_scene
from workspace import InputError, write_json


def test_cameras_keep_an_off_centre_principal_point(tmp_path):
    expected = write_scene(tmp_path)
    scene = load_scene(tmp_path)
    assert [c.name for c in scene.train] == sorted(["left/view 0", "view 1", "left/view 2", "view 3", "left/view 4", "view 5"])
    assert scene.test == [] and scene.points.shape == (40, 3)
    for camera in scene.train:
        image = expected.find_image_with_name(f"{camera.name}.png")
        np.testing.assert_allclose(camera.center, image.projection_center(), atol=1e-12)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (60.0, 61.0, 31.0, 25.5)
        assert load_image(camera).shape == (HEIGHT, WIDTH, 3)


def test_a_point_projects_to_its_keypoint(tmp_path):
    expected = write_scene(tmp_path)
    cameras = {f"{camera.name}.png": camera for camera in load_scene(tmp_path).train}
    for image in expected.images.values():
        camera = cameras[image.name]
        for point2d in image.points2D:
            if point2d.has_point3D():
                x = camera.world_to_camera @ [*expected.points3D[point2d.point3D_id].xyz, 1]
                projected = camera.intrinsics @ x[:3]
                np.testing.assert_allclose(projected[:2] / projected[2], point2d.xy, atol=1e-6)  # synthetic: exact keypoints


def test_every_eighth_by_name_is_held_out(shared):
    scene = load_scene(shared / "data" / "bonsai", eval=True)
    names = sorted(path.stem for path in (shared / "data" / "bonsai" / "images").iterdir())
    assert [c.name for c in scene.test] == names[::8] and len(scene.train) == 127


def test_extent_is_that_of_the_training_cameras(tmp_path):
    write_scene(tmp_path)
    scene = load_scene(tmp_path, eval=True)
    centers = np.array([camera.center for camera in scene.train])
    assert len(centers) == 5
    assert scene.extent == pytest.approx(1.1 * np.linalg.norm(centers - centers.mean(0), axis=1).max())


@pytest.mark.parametrize(
    ("resolution", "size"), [(-1, (64, 48)), (1, (64, 48)), (2, (32, 24)), (8, (8, 6)), (40, (40, 30)), (50, (50, 37))]
)
def test_resolution(tmp_path, resolution, size):
    write_scene(tmp_path)
    camera = load_scene(tmp_path, resolution=resolution).train[0]
    assert (camera.width, camera.height) == size
    assert camera.fx / camera.width == pytest.approx(60 / WIDTH) and camera.cy / camera.height == pytest.approx(25.5 / HEIGHT)


def test_high_photographs_are_shrunk_to_1080_or_wide_ones_by_option_to_1600(tmp_path):
    write_scene(tmp_path, params=(1500.0, 1500.0, 800.0, 600.0))
    for path in tmp_path.glob("images/**/*.png"):
        Image.new("RGB", (3200, 2400)).save(path)  # the photographs may be larger than their cameras too
    camera = load_scene(tmp_path).train[0]
    assert (camera.width, camera.height) == (1440, 1080)
    camera = load_scene(tmp_path, resolution=1600).train[0]
    assert (camera.width, camera.height) == (1600, 1200)


@pytest.mark.parametrize("resolution", [0, 3, -2])
def test_resolution_that_is_neither_divisor_nor_width(tmp_path, resolution):
    write_scene(tmp_path)
    with pytest.raises(InputError, match="divisor"):
        load_scene(tmp_path, resolution=resolution)


def test_resized_folder_scales_the_cameras(tmp_path):
    write_scene(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        write_photograph(tmp_path / "images_4" / path.relative_to(tmp_path / "images"), (WIDTH // 4, HEIGHT // 4))
    camera = load_scene(tmp_path, images="images_4").train[0]
    assert (camera.width, camera.fx, camera.cx) == (16, 15.0, 31 / 4) and camera.image_path.parts[-2:][0] in ("images_4", "left")


def test_empty_folder_names_convert(tmp_path):
    with pytest.raises(InputError, match=r"convert\.py"):
        load_scene(tmp_path)
    with pytest.raises(InputError, match="No folder"):
        load_scene(tmp_path / "typo")


def test_photographs_without_sparse_name_convert(tmp_path):
    write_photograph(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match=r"convert\.py -s .*images -o"):
        load_scene(tmp_path)


def test_model_directly_in_sparse_says_where_to_move_it(tmp_path):
    write_scene(tmp_path)
    for path in (tmp_path / "sparse" / "0").iterdir():
        shutil.move(path, tmp_path / "sparse")
    (tmp_path / "sparse" / "0").rmdir()
    with pytest.raises(InputError, match=r"mkdir .*0 && mv"):
        load_scene(tmp_path)


def test_unfinished_conversion_is_no_scene(tmp_path):
    write_scene(tmp_path)
    record = {"stage": "convert", "format": 1, "config": {}, "inputs": {}, "complete": False}
    write_json(tmp_path / "sparse" / "stage.json", record)
    with pytest.raises(InputError, match="did not finish"):
        load_scene(tmp_path)


def test_distorted_model_names_the_command_that_undistorts(tmp_path):
    write_scene(tmp_path, "OPENCV", (60.0, 60.0, 32.0, 24.0, 0.1, 0.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"OPENCV(.|\n)*convert\.py -s .*--distorted_model(.|\n)*colmap image_undistorter"):
        load_scene(tmp_path)


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("SIMPLE_RADIAL", (60.0, 32.0, 24.0, 0.1)),
        ("RADIAL", (60.0, 32.0, 24.0, 0.1, 0.2)),
        ("OPENCV", (60.0, 60.0, 32.0, 24.0, 0.0, 0.0, 0.0, 0.1)),
    ],
)
def test_a_lens_is_ignored_on_request_or_where_it_moves_no_pixel_by_half(tmp_path, model, params):
    """COLMAP's own arithmetic says by how much."""
    import pycolmap

    lens = 3 if model != "OPENCV" else 4
    columns, rows = np.meshgrid(np.linspace(0, 64, 9), np.linspace(0, 48, 9))
    pinhole = np.array([params[0], params[0], *params[lens - 2 : lens]])
    points = np.stack([(columns.ravel() - pinhole[2]) / pinhole[0], (rows.ravel() - pinhole[3]) / pinhole[1], np.ones(81)], 1)

    def shift(factor):
        scaled = [*params[:lens], *(factor * value for value in params[lens:])]
        camera = pycolmap.Camera(model=model, width=64, height=48, params=scaled)
        moved = camera.img_from_cam(points) - np.stack([columns.ravel(), rows.ravel()], 1)
        return scaled, float(np.linalg.norm(moved, axis=1).max())

    assert shift(1)[1] > 0.5
    for name, factor in (("over", 0.51 / shift(1)[1]), ("under", 0.49 / shift(1)[1])):
        scaled, moved = shift(factor)
        assert moved == pytest.approx(0.51 if name == "over" else 0.49, rel=1e-6)
        write_scene(tmp_path / name, model, tuple(scaled))
    assert len(load_scene(tmp_path / "under").train) == 6
    with pytest.raises(InputError, match=r"moves no pixel by 0\.5 \(it is 0\.5\)(.|\n)*train\.py --ignore_distortion"):
        load_scene(tmp_path / "over")
    camera = load_scene(tmp_path / "over", ignore_distortion=True).train[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == tuple(pinhole)


def test_missing_photographs_are_all_listed_with_near_names(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "images" / "view 1.png").rename(tmp_path / "images" / "View 1.PNG")
    (tmp_path / "images" / "view 3.png").rename(tmp_path / "images" / "view 3.jpg")
    (tmp_path / "images" / "view 5.png").unlink()
    with pytest.raises(InputError) as error:
        load_scene(tmp_path)
    text = str(error.value)
    assert "3 of 6" in text and "there is View 1.PNG" in text and "there is view 3.jpg" in text and "view 5.png\n" in text + "\n"


def test_unreadable_photographs_are_all_listed(tmp_path):
    write_scene(tmp_path)
    cut, empty = tmp_path / "images" / "view 1.png", tmp_path / "images" / "left" / "view 2.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    empty.write_bytes(b"")
    with pytest.raises(InputError) as error:
        load_scene(tmp_path)
    assert "2 of 6" in str(error.value) and str(cut) in str(error.value) and f"{empty}: the file is empty" in str(error.value)


def test_photographs_of_another_shape_are_all_listed(tmp_path):
    write_scene(tmp_path)
    for name in ("view 1.png", "view 3.png"):
        write_photograph(tmp_path / "images" / name, (HEIGHT, WIDTH))
    with pytest.raises(InputError) as error:
        load_scene(tmp_path)
    assert "2 of 6" in str(error.value) and "48x64, its camera 64x48" in str(error.value)


def test_one_camera_with_photographs_of_mixed_sizes(tmp_path):
    write_scene(tmp_path)
    write_photograph(tmp_path / "images" / "view 1.png", (WIDTH // 2, HEIGHT // 2))
    with pytest.raises(InputError, match="2 different sizes"):
        load_scene(tmp_path)


def test_names_that_differ_in_extension_only(tmp_path):
    reconstruction = write_scene(tmp_path)
    image = reconstruction.find_image_with_name("view 1.png")
    image.name = "view 3.jpg"
    reconstruction.write_binary(tmp_path / "sparse" / "0")
    write_photograph(tmp_path / "images" / "view 3.jpg")
    with pytest.raises(InputError, match="same name but for the extension"):
        load_scene(tmp_path)


def test_too_few_registered_photographs(tmp_path):
    reconstruction = write_scene(tmp_path)
    for frame in list(reconstruction.reg_frame_ids())[1:]:
        reconstruction.deregister_frame(frame)
    reconstruction.write_binary(tmp_path / "sparse" / "0")
    with pytest.raises(InputError, match=r"1 training photographs|too few|0 points"):
        load_scene(tmp_path)


def test_photographs_are_never_enlarged(tmp_path, caplog):
    write_scene(tmp_path)
    camera = load_scene(tmp_path, resolution=1_000_000).train[0]
    assert (camera.width, camera.height) == (64, 48)
    assert caplog.text.count("Photographs of 64x48 are narrower than resolution 1000000; they keep their size.") == 1
