"""Parts of the objects of the toy world, and short functions that create and place their surfaces."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toy_world.materials import Material
from toy_world.shapes import Ellipsoid, Number, Polytope, Primitive, rotation
from toy_world.turned import Revolution, Tube

BOX = np.float32([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
VIVID = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "turquoise")


@dataclass(frozen=True)
class Part:
    """Primitives of one material. `name` is None for the main body of the object, which has no phrase of its own."""

    name: str | None
    shape: str
    material: Material
    primitives: tuple[Primitive, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of object: its noun, the materials it may have, and the function that builds it from a material."""

    name: str
    shape: str
    colors: tuple[str, ...]
    textures: tuple[str, ...]
    build: Callable[[Material, np.random.Generator], list[Part]]


def ball(x: Number, y: Number, z: Number, rx: Number, ry: Number | None = None, rz: Number | None = None) -> Ellipsoid:
    """Ellipsoid with the given centre and half axes."""
    return Ellipsoid(np.diag(np.float32([rx, ry or rx, rz or rx])), np.float32([x, y, z]))


def box(x: Number, y: Number, z: Number, hx: Number, hy: Number, hz: Number, turn: Number = 0.0) -> Polytope:
    """Cuboid with the given centre and half edges, turned about z."""
    linear = rotation("z", turn) @ np.diag(np.float32([hx, hy, hz]))
    return Polytope(linear, np.float32([x, y, z]), BOX, np.ones(6, np.float32))


def turned(*profile: tuple[Number, Number], at: tuple[Number, Number, Number] = (0, 0, 0), tilt: Number = 0.0) -> Revolution:
    """Surface of revolution about z from (radius, height) rows, tilted about y, moved to `at`."""
    return Revolution(rotation("y", tilt), np.float32(at), np.float32(profile))


def rod(
    start: tuple[Number, Number, Number], end: tuple[Number, Number, Number], radius: Number, tip: Number | None = None
) -> Tube:
    """Straight round rod between two points, `tip` thick at its end."""
    a, b = np.float32(start), np.float32(end)
    half = float(np.linalg.norm(b - a) / 2)
    x = (b - a) / (2 * half)
    y = np.cross(x, [0.3, 0.5, 0.9] if abs(x[2]) < 0.9 else [1, 0, 0])
    y /= np.linalg.norm(y)
    linear = np.float32(np.stack([x, y, np.cross(x, y)], 1) * half)
    return Tube(linear, (a + b) / 2, (radius / half, (tip or radius) / half), straight=True)


def arc(
    at: tuple[Number, Number, Number], radius: Number, thickness: Number, half_angle: Number = 180.0, upright: bool = True
) -> Tube:
    """Arc of a ring about `at`, bulging to +x; upright in the xz plane or lying in the xy plane."""
    turn = rotation("x", 90) if upright else np.eye(3, dtype=np.float32)
    return Tube(turn * np.float32(radius), np.float32(at), (thickness / radius, thickness / radius), half_angle)


def prism(x: Number, y: Number, z: Number, hx: Number, hy: Number, height: Number) -> Polytope:
    """Gabled roof: ridge along y, eaves at `z`, ridge at `z + height`."""
    slope = np.float32(np.hypot(1, 1))
    faces = np.float32([[1 / slope, 0, 1 / slope], [-1 / slope, 0, 1 / slope], [0, 1, 0], [0, -1, 0], [0, 0, -1]])
    return Polytope(
        np.diag(np.float32([hx, hy, height])), np.float32([x, y, z]), faces, np.float32([1 / slope, 1 / slope, 1, 1, 0])
    )


def other(rng: np.random.Generator, avoid: str, choices: tuple[str, ...] = VIVID) -> Material:
    """Plain material in a random colour of `choices` other than `avoid`."""
    return Material(str(rng.choice([c for c in choices if c != avoid])), gloss=0.12)


def mirrored(primitive: Primitive) -> Primitive:
    """The primitive rotated by 180 degrees about z."""
    return primitive.placed(rotation("z", 180), np.zeros(3, np.float32))
