"""The pipeline's only camera model: a pinhole without distortion."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

LARGEST_SIDE = 1 << 16  # pixels; largest image side that the rasterizer renders
FARTHEST = 1e9  # world units and pixels; the fourth power of larger numbers overflows float32


@dataclass(frozen=True)
class Camera:
    """Undistorted pinhole camera and the path of its photograph, if any.

    `world_to_camera` acts on column vectors; camera axes are OpenCV's (x right, y down, z forward). `fx`, `fy`, `cx`, `cy`
    are in pixels, the centre of the top left pixel is (0.5, 0.5), and the principal point may be off centre. Deviates from
    3DGS and LangSplat, which move it to the image centre.
    """

    name: str  # image key: path below images/ without extension
    world_to_camera: Float[np.ndarray, "4 4"]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    image_path: Path | None = None

    @property
    def center(self) -> Float[np.ndarray, "3"]:
        """Camera centre in world coordinates."""
        return -self.world_to_camera[:3, :3].T @ self.world_to_camera[:3, 3]

    @property
    def intrinsics(self) -> Float[np.ndarray, "3 3"]:
        """Matrix from camera coordinates to homogeneous pixel coordinates."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera for an image of `width` x `height` pixels; each axis is scaled separately."""
        if width < 1 or height < 1:
            raise ValueError(f"A camera cannot be {width}x{height} pixels.")
        x, y = width / self.width, height / self.height
        return replace(self, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y, width=width, height=height)
