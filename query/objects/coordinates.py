"""Output frame of positions: the scene's own, or upright and in metres once the user has defined it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from workspace import InputError, read_typed, write_json

LARGEST_SCALE = 1e9  # metres per scene unit; lengths stay within float32
UNKNOWN_UNITS = "unknown: structure from motion has no scale; give --scale, or --measured with a known distance"


@dataclass(frozen=True)
class Frame:
    """Map from scene coordinates to output coordinates: rotate `up` to +z, then scale."""

    up: tuple[float, float, float] | None = None
    """Direction in scene coordinates that points up; None leaves the scene as it is."""
    scale: float | None = None
    """Metres per scene unit; None when unknown."""

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Rotation from scene to output coordinates: the smallest one that takes `up` to +z."""
        if self.up is None:
            return np.eye(3)
        up = np.array(self.up) / np.linalg.norm(self.up)
        axis, cosine = np.cross(up, [0.0, 0.0, 1.0]), up[2]
        if cosine < -1 + 1e-12:
            return np.diag([1.0, -1.0, -1.0])  # upside down: 180 degrees about x
        x, y, z = axis
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + cross + cross @ cross / (1 + cosine)

    @property
    def units(self) -> str:
        """Unit of lengths, or why it is unknown."""
        return "metres" if self.scale is not None else UNKNOWN_UNITS

    @property
    def name(self) -> str:
        """Name of the axes: "z up" or "scene"."""
        return "z up" if self.up is not None else "scene"

    def told(self, points: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
        """Scene coordinates in the output frame."""
        return points @ self.rotation.T * (1.0 if self.scale is None else self.scale)

    def scene(self, points: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
        """Points of the output frame in scene coordinates."""
        return points @ self.rotation / (1.0 if self.scale is None else self.scale)


def read_frame(path: Path) -> Frame:
    """The frame stored with a model; the scene's own when none was given. InputError when the file is damaged."""
    if not path.exists():
        return Frame()
    kept = read_typed(path, Frame, "Delete it.")
    return checked(kept.up, kept.scale)


def checked(up: Sequence[float] | None, scale: float | None) -> Frame:
    """A validated frame; InputError for a zero direction or a scale that is not positive."""
    if up is not None and not (np.isfinite(up).all() and np.linalg.norm(up) > 1e-9):
        raise InputError(f"--up {' '.join(map(str, up))}: expected a direction, such as 0 -1 0, not of length zero.")
    if scale is not None and not 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE:
        raise InputError(f"--scale {scale}: expected metres per scene unit, above 0 and at most {LARGEST_SCALE:g}.")
    return Frame(None if up is None else tuple(map(float, up)), None if scale is None else float(scale))


def measured_scale(ends: Sequence[float], metres: float) -> float:
    """Metres per scene unit from two points (x y z x y z, scene coordinates) and their distance in metres."""
    length = float(np.linalg.norm(np.subtract(ends[3:], ends[:3])))
    if not (np.isfinite(length) and length > 1e-12 and 0 < metres < np.inf):
        raise InputError(
            f"--measured {' '.join(map(str, ends))} --metres {metres}: expected two different points and a distance."
        )
    return metres / length


def write_frame(path: Path, frame: Frame) -> None:
    """Store the frame with the model."""
    write_json(path, asdict(frame))
