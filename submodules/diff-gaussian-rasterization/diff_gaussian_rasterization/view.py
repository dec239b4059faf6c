"""The camera and the result of a rasterization."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from .checks import is_number

LARGEST_SIDE = 1 << 16
RIGID = 1e-3  # largest deviation of R R^T from the identity; poses rounded to three digits pass


@dataclass(frozen=True, eq=False)  # compared by identity: == on tensors is elementwise
class View:
    """A pinhole camera.

    Attributes:
        world_to_camera: [4, 4], column vectors, OpenCV axes (x right, y down, z forward). Preferably on the CPU, where
            every call reads its values.
        fx, fy, cx, cy: focal lengths and principal point in pixels; pixel centres are at +0.5.
        width, height: size of the image in pixels.
    """

    world_to_camera: Tensor
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def values(self) -> list[float]:
        """Rotation (row-major), translation, fx, fy, cx, cy. Raises ValueError or TypeError if they are invalid."""
        if not isinstance(self.world_to_camera, Tensor) or self.world_to_camera.shape != (4, 4):
            found = getattr(self.world_to_camera, "shape", type(self.world_to_camera).__name__)
            raise ValueError(f"world_to_camera must be a tensor of shape [4, 4], found {found}.")
        for name in ("width", "height"):
            side = getattr(self, name)
            if not isinstance(side, int) or isinstance(side, bool) or not 0 < side <= LARGEST_SIDE:
                raise ValueError(f"{name} must be an integer from 1 to {LARGEST_SIDE} pixels, found {side!r}.")
        rows = self.world_to_camera.tolist()
        (ax, ay, az, tx), (bx, by, bz, ty), (cx, cy, cz, tz), last = rows
        rotation = [ax, ay, az, bx, by, bz, cx, cy, cz]
        numbers = [*rotation, tx, ty, tz]
        for name in ("fx", "fy", "cx", "cy"):
            value = getattr(self, name)
            if not is_number(value):
                raise TypeError(f"{name} must be a number of pixels, found {type(value).__name__}.")
            numbers.append(float(value))
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"the view holds a value that is not finite: world_to_camera {rows}, intrinsics {numbers[12:]}.")
        if not _is_rigid(*rotation) or last != [0, 0, 0, 1]:
            raise ValueError(
                f"world_to_camera must be a rotation and a translation over the row 0 0 0 1, found {rows}. "
                "A scaled pose has to be divided by its scale."
            )
        if numbers[12] <= 0 or numbers[13] <= 0:
            raise ValueError(f"fx and fy must be positive, found {self.fx} and {self.fy}.")
        return numbers


def _is_rigid(ax: float, ay: float, az: float, bx: float, by: float, bz: float, cx: float, cy: float, cz: float) -> bool:
    """Whether the matrix with rows a, b, c is a rotation: orthonormal rows, no reflection."""
    lengths = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz, cx * cx + cy * cy + cz * cz
    products = ax * bx + ay * by + az * bz, ax * cx + ay * cy + az * cz, bx * cx + by * cy + bz * cz
    volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return volume > 0 and abs(min(lengths) - 1) < RIGID and abs(max(lengths) - 1) < RIGID and max(map(abs, products)) < RIGID


class Rendering(NamedTuple):
    """Result of a rasterization.

    Attributes:
        image: [D, H, W], the sum of w f over the Gaussians of a pixel (blending weight w, feature f), plus the background.
        alpha: [H, W] in [0, 1], the sum of w.
        depth: [H, W], the sum of w z, with z the camera depth of a Gaussian; divide by alpha for a mean depth.
        radii: [n] int32, three standard deviations of the larger axis in pixels; 0 where culled.
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor
    radii: Tensor
