"""The one camera of the pipeline: a pinhole without distortion."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

LARGEST_SIDE = 1 << 16  # pixels, the largest picture that the rasterizer draws
FARTHEST = 1e9  # world units and pixels; float32 arithmetic on larger numbers overflows when they are squared twice


@dataclass(frozen=True)
class Camera:
    """Undistorted pinhole camera, with the photograph it took when there is one.

    `world_to_camera` acts on column vectors; camera axes are OpenCV's (x right, y down, z forward). `fx`, `fy`, `cx`, `cy`
    are in pixels, the centre of the top left pixel is (0.5, 0.5), and the principal point may be off centre. Deviates from
    3DGS and LangSplat, which move it to the middle of the picture.
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
        """Position of the camera in the world."""
        return -self.world_to_camera[:3, :3].T @ self.world_to_camera[:3, 3]

    @property
    def intrinsics(self) -> Float[np.ndarray, "3 3"]:
        """Matrix that takes camera coordinates to homogeneous pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> "Camera":
        """The same view at another size in pixels; each axis is scaled by its own ratio, as a resized photograph is."""
        if width < 1 or height < 1:
            raise ValueError(f"A camera cannot be {width}x{height} pixels.")
        x, y = width / self.width, height / self.height
        return replace(self, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y, width=width, height=height)
