"""A smooth camera path along the cameras of a capture, for videos."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, RotationSpline

from scene.camera import Camera
from workspace import InputError

MOST_KEYS = 24  # maximum number of key cameras of the path; more would add the shake of a hand-held capture
TREMOR = 0.5  # standard deviation of the Gaussian smoothing of key positions, in keys


def camera_path(cameras: Sequence[Camera], num_frames: int) -> list[Camera]:
    """`num_frames` cameras on a spline through training cameras in the order of their names, at steady speed.

    All have the intrinsics of the first camera, at its size rounded down to even numbers as video needs. They are named
    `00000`, `00001` and so on.

    Raises:
        InputError: fewer than two cameras.
    """
    if len(cameras) < 2:
        raise InputError(f"A camera path needs at least 2 cameras, found {len(cameras)}.")
    order = sorted(cameras, key=lambda camera: camera.name)
    keys = [order[i] for i in np.unique(np.linspace(0, len(order) - 1, MOST_KEYS).round().astype(int))]
    centers = gaussian_filter1d(np.stack([camera.center for camera in keys]), TREMOR, axis=0, mode="nearest")
    rotations = Rotation.from_matrix(np.stack([camera.world_to_camera[:3, :3] for camera in keys]))
    times = _times(centers, rotations)
    at = np.linspace(0, times[-1], num_frames)
    path_centers = (
        CubicSpline(times, centers)(at) if len(keys) > 2 else centers[0] + np.outer(at / times[-1], centers[1] - centers[0])
    )
    path_rotations = RotationSpline(times, rotations)(at).as_matrix()
    lens = order[0].resized(max(2, order[0].width // 2 * 2), max(2, order[0].height // 2 * 2))
    return [
        Camera(f"{i:05d}", _pose(rotation, center), lens.fx, lens.fy, lens.cx, lens.cy, lens.width, lens.height)
        for i, (rotation, center) in enumerate(zip(path_rotations, path_centers, strict=True))
    ]


def _times(centers: Float[np.ndarray, " k 3"], rotations: Rotation) -> Float[np.ndarray, " k"]:
    """Times of the key cameras, so that long steps and large turns take longer.

    The time between two keys is their distance over the mean distance plus their angle over the mean angle.
    """
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    turns = (rotations[1:] * rotations[:-1].inv()).magnitude()
    durations = steps / max(steps.mean(), 1e-12) + turns / max(turns.mean(), 1e-12)
    # The spline needs strictly increasing times, even where the camera did not move.
    return np.concatenate([[0.0], np.cumsum(np.maximum(durations, 1e-3))])


def _pose(rotation: Float[np.ndarray, "3 3"], center: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    world_to_camera[:3, 3] = -rotation @ center
    return world_to_camera
