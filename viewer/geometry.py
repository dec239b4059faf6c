"""Between the cameras of the scene and a browser's: poses, fields of view, the point to turn around, the upward direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from scene.camera import Camera

WIDEST = 1.5  # height of what a narrow window shows, in heights of the photograph


@dataclass(frozen=True)
class Pose:
    """Where a visitor looks from, as the browser says it."""

    wxyz: tuple[float, float, float, float]
    """Unit quaternion of the rotation from camera to world; camera axes are OpenCV's."""
    position: tuple[float, float, float]
    fov: float
    """Vertical field of view, radians."""
    aspect: float
    """Width over height."""

    @classmethod
    def at(cls, camera: Camera, aspect: float) -> "Pose":
        """The pose that shows a camera's picture in a window of another shape: all of it, but in narrow windows.

        There the sides are cut: else the vertical field of view would be so wide that the scene is small and distorted.
        """
        w, x, y, z = Rotation.from_matrix(camera.world_to_camera[:3, :3].T).as_quat()[[3, 0, 1, 2]].tolist()
        upper = camera.height / (2 * camera.fy)
        half = max(upper, min(camera.width / (2 * camera.fx) / aspect, WIDEST * upper))
        return cls((w, x, y, z), tuple(camera.center.tolist()), float(2 * np.arctan(half)), aspect)

    @classmethod
    def of(cls, camera: Any) -> "Pose":
        """The pose of a viser client's camera."""
        return cls(tuple(map(float, camera.wxyz)), tuple(map(float, camera.position)), float(camera.fov), float(camera.aspect))

    def is_at(self, other: "Pose") -> bool:
        """Whether another camera looks from the same place in the same direction."""
        turn = abs(float(np.dot(self.wxyz, other.wxyz)))  # q and -q are one rotation
        return bool(np.allclose(self.position, other.position, rtol=1e-4, atol=1e-5)) and turn > 1 - 1e-6

    def camera(self, width: int) -> Camera:
        """The camera of a picture `width` pixels wide."""
        height = max(1, round(width / self.aspect))
        w, x, y, z = self.wxyz
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix().T
        world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ np.array(self.position)
        focal = height / (2 * np.tan(self.fov / 2))
        return Camera("view", world_to_camera, focal, focal, width / 2, height / 2, width, height)

    def width_within(self, longest: int) -> int:
        """Width of the largest picture whose longer side has at most `longest` pixels."""
        return max(1, round(longest * min(1.0, self.aspect)))


def looked_at(cameras: Sequence[Camera]) -> Float[np.ndarray, "3"]:
    """The point closest to all optical axes, in front of the cameras: what the capture turns around.

    Parallel axes have none; then a point in front of the first camera is returned.
    """
    centers = np.stack([camera.center for camera in cameras])
    axes = np.stack([camera.world_to_camera[2, :3] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    point = np.linalg.lstsq(across.sum(0), (across @ centers[:, :, None]).sum(0)[:, 0], rcond=1e-3)[0]
    ahead = ((point - centers) * axes).sum(1)
    if np.median(ahead) <= 0 or not np.isfinite(point).all():
        spread = float(np.linalg.norm(centers - centers.mean(0), axis=1).max())
        return centers[0] + axes[0] * max(spread, 1.0)
    return point


def ahead_of(camera: Camera, point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """The point on the camera's optical axis that is as far ahead as `point`, so that turning begins without a jump."""
    axis = camera.world_to_camera[2, :3]
    depth = float((point - camera.center) @ axis)
    return camera.center + axis * (depth if depth > 1e-3 else max(1e-3, float(np.linalg.norm(point - camera.center))))


def upward(cameras: Sequence[Camera]) -> Float[np.ndarray, "3"]:
    """Unit vector: the direction that is level in no photograph, the rows of pixels being level where the camera is not rolled.

    The mean direction of the upper edges leans where cameras look down from one side; it decides where the rows are parallel.
    """
    edges = -np.stack([camera.world_to_camera[1, :3] for camera in cameras]).mean(0)
    rows = np.stack([camera.world_to_camera[0, :3] for camera in cameras])
    spread, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    up = axes[:, 0] * np.sign(axes[:, 0] @ edges) if spread[1] > max(1e-3, 4 * spread[0]) else edges
    length = np.linalg.norm(up)
    return up / length if length > 1e-6 else -cameras[0].world_to_camera[1, :3]
