"""Analytic surfaces of the toy world: ray intersection, normals and surface coordinates, vectorised over rays.

A primitive is defined in its own frame and placed by an affine map. Rays are transformed to that frame without normalising
their directions, so a ray parameter is the same in every frame. All arrays are float32.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "k 3"]
Origins = Float[np.ndarray, "#k 3"]  # one origin for all rays, or one per ray
Distances = Float[np.ndarray, "k"]
Number = int | float

TURN = np.float32(2 * np.pi)
EPSILON = np.float32(1e-4)  # rays leave a surface by this much, in world units (the table is 2.6 wide)


def dot(a: Float[np.ndarray, "#k d"], b: Float[np.ndarray, "#k d"]) -> Distances:
    """Row-wise scalar products; several times faster than a sum over an axis of three."""
    return np.einsum("ij,ij->i", a, b)


def length(a: Float[np.ndarray, "k d"]) -> Distances:
    """Row-wise Euclidean lengths."""
    return np.sqrt(dot(a, a))


def rotation(axis: str, degrees: Number) -> Float[np.ndarray, "3 3"]:
    """Right-handed rotation matrix about `x`, `y` or `z`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3, dtype=np.float32)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


@dataclass(frozen=True)
class Primitive(ABC):
    """A surface in its own frame, placed by `point_world = linear @ point_local + offset`."""

    linear: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]

    def placed(self, linear: Float[np.ndarray, "3 3"], offset: Float[np.ndarray, "3"]) -> "Primitive":
        """The same surface under a further affine map."""
        return replace(
            self,
            linear=(linear @ self.linear).astype(np.float32),
            offset=(linear @ self.offset + offset).astype(np.float32),
        )

    def intersect(self, origins: Origins, directions: Points, nearest: float = 1e-4) -> Distances:
        """Ray parameter of the first crossing beyond `nearest`; infinity where there is none."""
        inverse = np.linalg.inv(self.linear)
        return self._cross((origins - self.offset) @ inverse.T, directions @ inverse.T, np.float32(nearest))

    def local(self, points: Points) -> Points:
        """World points in the primitive's frame."""
        return (points - self.offset) @ np.linalg.inv(self.linear).T

    def normals(self, points: Points) -> Points:
        """Outward unit normals in the world at world points on the surface."""
        normals = self._gradient(self.local(points)) @ np.linalg.inv(self.linear)
        return normals / np.maximum(length(normals), np.float32(1e-12))[:, None]

    def balls(self) -> Float[np.ndarray, "b 4"]:
        """Balls (centre, radius) that approximate the primitive for ambient occlusion."""
        local = self._local_balls()
        size = np.abs(np.linalg.det(self.linear)) ** (1 / 3)
        return np.concatenate([local[:, :3] @ self.linear.T + self.offset, local[:, 3:] * size], axis=1).astype(np.float32)

    def bounding_ball(self) -> tuple[Float[np.ndarray, "3"], float]:
        """Centre and radius of a ball around the primitive in the world."""
        centre, radius = self._local_bound()
        return (self.linear @ centre + self.offset).astype(np.float32), float(radius * np.linalg.norm(self.linear, 2))

    def pattern_coordinates(self, points: Points) -> Float[np.ndarray, "k 2"]:
        """Coordinates of world points around and along the surface, both in turns of the widest circumference."""
        return self._surface(self.local(points))

    def ring(self, v: Distances) -> Distances:
        """Circumference at pattern height `v`, relative to the widest one; patterns with rows thin out by it."""
        return np.ones_like(v)

    # Subclasses define these in their own frame: `intersect`, `normals` (of any length), `pattern_coordinates`,
    # `bounding_ball` and `balls`.

    @abstractmethod
    def _cross(self, o: Origins, d: Points, nearest: np.float32) -> Distances: ...

    @abstractmethod
    def _gradient(self, p: Points) -> Points: ...

    @abstractmethod
    def _surface(self, p: Points) -> Float[np.ndarray, "k 2"]: ...

    @abstractmethod
    def _local_bound(self) -> tuple[Float[np.ndarray, "3"], float]: ...

    def _local_balls(self) -> Float[np.ndarray, "b 4"]:
        return np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Ellipsoid(Primitive):
    """The unit sphere."""

    def _cross(self, o: Origins, d: Points, nearest: np.float32) -> Distances:
        a, b, c = dot(d, d), dot(o, d), dot(o, o) - 1
        discriminant = b * b - a * c
        root = np.sqrt(np.maximum(discriminant, 0))
        first, second = (-b - root) / a, (-b + root) / a
        t = np.where(first > nearest, first, second)
        return np.where((discriminant > 0) & (t > nearest), t, np.float32(np.inf))

    def _gradient(self, p: Points) -> Points:
        return p

    def _surface(self, p: Points) -> Float[np.ndarray, "k 2"]:
        return np.stack([np.arctan2(p[:, 1], p[:, 0]) / TURN + 0.5, np.arcsin(np.clip(p[:, 2], -1, 1)) / TURN + 0.25], 1)

    def ring(self, v: Distances) -> Distances:
        """See Primitive."""
        return np.cos(TURN * (v - 0.25))

    def _local_bound(self) -> tuple[Float[np.ndarray, "3"], float]:
        return np.zeros(3, np.float32), 1.0

    def _local_balls(self) -> Float[np.ndarray, "b 4"]:
        return np.float32([[0, 0, 0, 1]])


@dataclass(frozen=True)
class Polytope(Primitive):
    """The convex body {p: faces @ p <= heights}; `inside_out` shows its inner side, as a room does."""

    faces: Float[np.ndarray, "f 3"]
    heights: Float[np.ndarray, " f"]
    inside_out: bool = False

    def _cross(self, o: Origins, d: Points, nearest: np.float32) -> Distances:
        enter = np.full(len(d), -np.inf, np.float32)
        leave = np.full(len(d), np.inf, np.float32)
        outside = np.zeros(len(d), bool)
        for face, height in zip(self.faces, self.heights, strict=True):
            slope, gap = d @ face, height - o @ face
            with np.errstate(divide="ignore", invalid="ignore"):
                t = gap / slope
            enter = np.where(slope < 0, np.maximum(enter, t), enter)
            leave = np.where(slope > 0, np.minimum(leave, t), leave)
            outside |= (slope == 0) & (gap < 0)
        t = leave if self.inside_out else enter
        return np.where((enter < leave) & (t > nearest) & ~outside, t, np.float32(np.inf))

    def _gradient(self, p: Points) -> Points:
        normals = self.faces[(p @ self.faces.T - self.heights).argmax(1)]
        return -normals if self.inside_out else normals

    def _surface(self, p: Points) -> Float[np.ndarray, "k 2"]:
        normals = np.abs(self._gradient(p))
        axis = (normals * np.float32([1.0, 1.01, 1.02])).argmax(1)  # breaks ties at 45 degrees consistently
        scale = np.linalg.norm(self.linear, axis=0) / np.linalg.norm(self.linear, axis=0).max()
        q = p * scale
        u = np.where(axis == 0, q[:, 1], q[:, 0])
        v = np.where(axis == 2, q[:, 1], q[:, 2])
        return np.stack([u / 8 + 0.5, v / 8 + 0.5], 1)

    def _local_bound(self) -> tuple[Float[np.ndarray, "3"], float]:
        return np.zeros(3, np.float32), 1.7321 * float(self.heights.max())

    def _local_balls(self) -> Float[np.ndarray, "b 4"]:
        return np.float32([[0, 0, 0, 1]])[: 0 if self.inside_out else 1]
