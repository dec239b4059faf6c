"""Blender and nerfstudio scenes."""

import json

import numpy as np
import pytest
from colmap_scene import write_photograph
from PIL import Image

from scene.dataset import load_image, load_scene
from workspace import InputError

WIDTH, HEIGHT = 16, 12


def pose(position: tuple[float, float, float]) -> list:
    """OpenGL camera-to-world of a camera that looks at the origin, z up."""
    backward = np.array(position) / np.linalg.norm(position)
    right = np.cross([0, 0, 1], backward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(backward, right), backward], 1)
    matrix[:3, 3] = position
    return matrix.tolist()


POSES = [pose((4 * np.cos(a), 4 * np.sin(a), 1.0)) for a in np.linspace(0, 5, 9)]


def write_nerfstudio(root, frame_extra=None, **table):
    frames = []
    for i, matrix in enumerate(POSES):
        write_photograph(root / "images" / f"{i}.png", (WIDTH, HEIGHT))
        frames.append({"file_path": f"./images/{i}.png", "transform_matrix": matrix, **(frame_extra or {})})
    table = {"fl_x": 20.0, "fl_y": 21.0, "cx": 7.0, "cy": 6.5, "w": WIDTH, "h": HEIGHT} | table
    (root / "transforms.json").write_text(json.dumps({k: v for k, v in table.items() if v is not None} | {"frames": frames}))


def write_blender(root):
    for split, poses in (("train", POSES[:7]), ("test", POSES[7:])):
        frames = []
        for i, matrix in enumerate(poses):
            path = root / split / f"r_{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 128)).save(path)
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": matrix})
        (root / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": np.pi / 2, "frames": frames}))


def test_the_origin_is_in_the_middle_and_up_is_up(tmp_path):
    write_nerfstudio(tmp_path)
    camera = load_scene(tmp_path).train[0]
    np.testing.assert_allclose(camera.center, [4, 0, 1], atol=1e-12)
    origin, above = (camera.world_to_camera @ [0, 0, z, 1] for z in (0.0, 0.1))
    np.testing.assert_allclose(origin[:3], [0, 0, np.sqrt(17)], atol=1e-12)  # straight ahead: OpenCV z is forward
    assert above[1] < 0  # and y is down
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.name) == (20.0, 21.0, 7.0, 6.5, "0")


def test_nerfstudio_holds_out_every_eighth_and_starts_from_a_cube(tmp_path):
    write_nerfstudio(tmp_path)
    scene = load_scene(tmp_path, eval=True)
    assert [c.name for c in scene.test] == ["0", "8"] and scene.points.shape == (100_000, 3)
    # the cameras all look at the origin from 4.12 away: the cube is centred there and reaches as far
    np.testing.assert_allclose(scene.points.mean(0), 0, atol=0.05)
    assert np.abs(scene.points).max() == pytest.approx(np.sqrt(17), rel=0.01)
    np.testing.assert_array_equal(scene.points, load_scene(tmp_path).points)


def test_nerfstudio_point_cloud_is_used(tmp_path):
    write_nerfstudio(tmp_path, ply_file_path="sparse_pc.ply")
    header = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    header += "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    (tmp_path / "sparse_pc.ply").write_text(header + "1 2 3 10 20 30\n4 5 6 40 50 60\n")
    scene = load_scene(tmp_path)
    assert scene.points.tolist() == [[1, 2, 3], [4, 5, 6]] and scene.colors.tolist() == [[10, 20, 30], [40, 50, 60]]


def test_a_scene_that_must_bring_its_points_is_refused_without_them(tmp_path):
    write_nerfstudio(tmp_path)
    with pytest.raises(InputError, match=r"no ply_file_path in \S+transforms\.json.*--fixed_points"):
        load_scene(tmp_path, own_points=True)
    write_nerfstudio(tmp_path, ply_file_path="sparse_pc.ply")
    with pytest.raises(InputError, match=r"sparse_pc\.ply"):
        load_scene(tmp_path, own_points=True)


def test_intrinsics_of_a_frame_override_the_shared_ones(tmp_path):
    write_nerfstudio(tmp_path, {"fl_x": 30.0, "cx": 9.0})
    camera = load_scene(tmp_path).train[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (30.0, 21.0, 9.0, 6.5)


def test_field_of_view_stands_in_for_the_focal_length(tmp_path):
    write_nerfstudio(tmp_path, fl_x=None, fl_y=None, cx=None, cy=None, camera_angle_x=np.pi / 2)
    camera = load_scene(tmp_path).train[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((8.0, 8.0, 8.0, 6.0))
    write_nerfstudio(tmp_path, fl_x=None, fl_y=None)
    with pytest.raises(InputError, match="no focal length"):
        load_scene(tmp_path)


@pytest.mark.parametrize("distortion", [{"k1": 2.0}, {"p2": -0.5}, {"camera_model": "OPENCV_FISHEYE"}])
def test_distortion_is_refused_with_the_command(tmp_path, distortion):
    write_nerfstudio(tmp_path, **distortion)
    with pytest.raises(InputError, match=r"distorted(.|\n)*convert\.py -s .*images -o"):
        load_scene(tmp_path)
    if "camera_model" in distortion:  # no pinhole is near it
        with pytest.raises(InputError, match="no pinhole"):
            load_scene(tmp_path, ignore_distortion=True)
    else:
        assert len(load_scene(tmp_path, ignore_distortion=True).train) == 9
    write_nerfstudio(tmp_path, k1=0.0, k2=0, p1=0.0)
    assert len(load_scene(tmp_path).train) == 9


def test_listed_frames_without_photograph_are_logged_and_passed_over(tmp_path, caplog):
    write_nerfstudio(tmp_path)
    for name in ("2.png", "5.png"):
        (tmp_path / "images" / name).unlink()
    assert len(load_scene(tmp_path).train) == 7
    assert "2 of 9" in caplog.text and "images/2.png" in caplog.text and "images/5.png" in caplog.text


def test_no_photograph_at_all(tmp_path):
    write_nerfstudio(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="9 of 9"):
        load_scene(tmp_path)


@pytest.mark.parametrize("matrix", [[[1, 0], [0, 1]], np.diag([2.0, 2, 2, 1]).tolist(), np.diag([1.0, 1, -1, 1]).tolist(), None])
def test_matrices_that_are_no_poses(tmp_path, matrix):
    write_nerfstudio(tmp_path, {"transform_matrix": matrix})
    with pytest.raises(InputError, match="transform_matrix"):
        load_scene(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"frames": []}', '{"frames": [{"transform_matrix": []}]}'])
def test_json_that_is_no_scene(tmp_path, text):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(InputError, match=r"transforms\.json"):
        load_scene(tmp_path)


def test_blender_brings_its_own_test_views(tmp_path):
    write_blender(tmp_path)
    scene = load_scene(tmp_path, eval=True)
    assert ([c.name for c in scene.train][0], len(scene.train), len(scene.test)) == ("train/r_0", 7, 2)
    assert len(load_scene(tmp_path).train) == 9
    camera = scene.test[0]
    assert (camera.fx, camera.cx, camera.cy) == pytest.approx((8.0, 8.0, 6.0))
    assert load_image(camera, (1.0, 1.0, 1.0))[0, 0].tolist() == [255, 127, 127]
    assert scene.points.shape == (100_000, 3) and np.abs(scene.points).max() <= 1.3
    header = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    (tmp_path / "points3d.ply").write_text(header + "1 2 3\n")  # where 3DGS trainers leave their random points
    assert load_scene(tmp_path).points.tolist() == [[1, 2, 3]]


def test_intrinsics_of_another_size_and_frames_without_a_pose_as_opengaussian_writes_scannet(tmp_path, caplog):
    poses = [*POSES[:7], np.full((4, 4), np.nan).tolist()]
    frames = []
    for i, matrix in enumerate(poses):
        write_photograph(tmp_path / "color" / f"{20 * i}.jpg", (WIDTH, HEIGHT))
        frames.append({"file_path": f"color/{20 * i}", "transform_matrix": matrix})
    twice = {"w": 2 * WIDTH, "h": 3 * HEIGHT, "fl_x": 40.0, "fl_y": 63.0, "cx": 14.0, "cy": 19.5}
    (tmp_path / "transforms_train.json").write_text(json.dumps(twice | {"frames": frames}))
    (tmp_path / "transforms_test.json").write_text(json.dumps(twice | {"frames": frames[::4]}))
    scene = load_scene(tmp_path, eval=True)
    assert [c.name for c in scene.test] == ["color/0", "color/80"] and len(scene.train) == 5
    assert len(load_scene(tmp_path).train) == 7
    camera = scene.test[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (20.0, 21.0, 7.0, 6.5)
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert "color/140.jpg have no finite pose" in caplog.text


def test_instant_ngp_fox_is_distorted_and_lists_absent_frames(shared, caplog):
    with pytest.raises(InputError, match=r"k1=0\.0578421(.|\n)*convert\.py"):
        load_scene(shared / "data" / "fox_original")
    assert "17 of 67" in caplog.text and "images/0005.jpg" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fl_x": "wide"}, "fl_x is 'wide'; expected a number"),
        ({"cy": [1]}, r"cy is \[1\]; expected a number"),
        ({"fl_x": None, "camera_angle_x": "x"}, "camera_angle_x is 'x'"),
        ({"ply_file_path": 5}, "ply_file_path is 5; expected the path"),
        ({"fl_x": 0}, "focal lengths 0 and 21"),
    ],
)
def test_intrinsics_that_are_no_numbers_are_named(tmp_path, wrong, message):
    write_nerfstudio(tmp_path, **wrong)
    with pytest.raises(InputError, match=message):
        load_scene(tmp_path)


def test_photographs_too_small_to_learn_from(tmp_path):
    write_nerfstudio(tmp_path)
    for path in (tmp_path / "images").iterdir():
        Image.new("RGB", (1, 1)).save(path)
    with pytest.raises(InputError, match=r"0\.png is 1x1; expected 16 pixels of width or more"):
        load_scene(tmp_path)
