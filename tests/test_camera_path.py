import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gaussian_renderer.camera_path import camera_path
from scene.camera import Camera
from workspace import InputError


def _circle(num_cameras, width=41, height=30):
    """Cameras every few degrees on a circle of radius 2, looking at its middle."""
    cameras = []
    for i, angle in enumerate(np.linspace(0, np.pi, num_cameras)):
        rotation = Rotation.from_euler("y", angle).as_matrix()
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = rotation
        world_to_camera[:3, 3] = [0, 0, 2]
        cameras.append(Camera(f"view_{i:03d}", world_to_camera, 50.0, 50.0, width / 2, height / 2, width, height))
    return cameras


def test_path_stays_near_the_capture_and_looks_where_it_looked():
    path = camera_path(_circle(60), 100)
    centers = np.stack([camera.center for camera in path])
    # A spline through 24 cameras 7.8 degrees apart follows the circle closely; smoothing pulls the ends inwards.
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 2, atol=0.03)
    for camera in path:
        np.testing.assert_allclose(camera.world_to_camera[:3, :3] @ camera.world_to_camera[:3, :3].T, np.eye(3), atol=1e-9)
        middle = camera.world_to_camera[:3, 3]
        assert middle[2] > 1.9 and np.abs(middle[:2]).max() < 0.1  # the middle of the circle stays in the middle of the view


def test_speed_is_steady():
    centers = np.stack([camera.center for camera in camera_path(_circle(60), 100)])
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    assert steps.max() < 1.6 * np.median(steps)


def test_frames_have_even_sizes_for_video():
    camera = camera_path(_circle(5), 3)[0]
    assert (camera.width, camera.height) == (40, 30)
    assert camera.cx == pytest.approx(20)


def test_two_cameras_and_repeated_places_work_one_camera_is_refused():
    two = _circle(2)
    assert len(camera_path(two, 7)) == 7
    standing = [*_circle(4), *_circle(4)]
    assert np.isfinite(np.stack([camera.center for camera in camera_path(standing, 9)])).all()
    with pytest.raises(InputError, match="at least 2"):
        camera_path(two[:1], 7)
