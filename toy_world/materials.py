"""Colours and procedural textures of the toy world."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from toy_world.shapes import Distances, Points, Primitive

PALETTE = {  # sRGB, 0 to 255
    "red": (198, 38, 38),
    "orange": (238, 130, 28),
    "yellow": (240, 205, 48),
    "green": (52, 148, 66),
    "blue": (38, 84, 190),
    "purple": (122, 66, 168),
    "pink": (242, 138, 176),
    "brown": (122, 76, 44),
    "white": (236, 233, 226),
    "black": (38, 38, 44),
    "gray": (138, 139, 144),
    "turquoise": (48, 182, 178),
}
TEXTURES = ("plain", "striped", "checkered", "dotted", "zigzag", "wooden", "marble")
PARTNERS = {"white": "gray"}  # second colour of a pattern; white for colours not listed
LATTICE = 32  # edge of the repeating noise cube


def linear_color(name: str) -> Float[np.ndarray, "3"]:
    """Linear RGB, 0 to 1, of a colour of the palette."""
    srgb = np.float32(PALETTE[name]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _lattice() -> Float[np.ndarray, " c"]:
    return np.random.default_rng(20).random(LATTICE**3, dtype=np.float32)


def noise(points: Points) -> Distances:
    """Smooth value noise, 0 to 1, of wavelength about 1."""
    cell = np.floor(points)
    f = points - cell
    f = f * f * (3 - 2 * f)
    i = cell.astype(np.int32) % LATTICE
    j = (i + 1) % LATTICE
    values, total = _lattice(), np.zeros(len(points), np.float32)
    for corner in range(8):
        index, weight = 0, np.ones(len(points), np.float32)
        for axis in range(3):
            upper = corner >> axis & 1
            index = index * LATTICE + (j if upper else i)[:, axis]
            weight = weight * (f[:, axis] if upper else 1 - f[:, axis])
        total += weight * values[index]
    return total


def turbulence(points: Points) -> Distances:
    """Three octaves of noise, 0 to 1."""
    return (noise(points) + noise(points * 2.03 + 7) / 2 + noise(points * 4.1 + 3) / 4) / np.float32(1.75)


@dataclass(frozen=True)
class Material:
    """A named colour and texture, with parameters that vary slightly between instances."""

    color: str
    texture: str = "plain"
    repeats: int = 8  # pattern periods around the widest circumference
    upright: bool = False  # stripes run up instead of around
    gloss: float = 0.15  # weight of the highlight
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors on the linear colour

    def albedo(self, primitive: Primitive, points: Points, solid: Points) -> Points:
        """Linear RGB at world points of a surface; `solid` are the same points in the object's frame, for grain and veins."""
        base = linear_color(self.color) * np.float32(self.tint)
        if self.texture == "wooden":
            return base * self._grain(solid)[:, None]
        if self.texture == "marble":
            vein = np.abs(np.sin(np.float32(9) * solid.sum(1) + np.float32(7) * turbulence(solid * 5)))
            second = linear_color("gray" if self.color == "white" else "white")
            weight = np.clip(1 - vein * np.float32(2.6), 0, 1)[:, None] * np.float32(0.75)
            return base * (1 - weight) + second * weight
        weight = self._pattern(primitive, points)[:, None]
        second = linear_color(PARTNERS.get(self.color, "white"))
        mottle = np.float32(0.94) + np.float32(0.12) * noise(solid * 14)[:, None]
        return (base * (1 - weight) + second * weight) * mottle

    def _grain(self, solid: Points) -> Distances:
        stretched = solid * np.float32([1.1, 9.0, 9.0])
        rings = np.float32(3.5) * turbulence(stretched * np.float32(0.35)) + solid[:, 1] * np.float32(5)
        fibre = noise(solid * np.float32([6.0, 90.0, 90.0]))
        ring = rings - np.floor(rings)
        return np.float32(0.72) + np.float32(0.42) * ring * ring + np.float32(0.22) * (fibre - np.float32(0.5))

    def _pattern(self, primitive: Primitive, points: Points) -> Distances:
        """Share of the second colour, 0 or 1."""
        if self.texture == "plain":
            return np.zeros(len(points), np.float32)
        u, v = (primitive.pattern_coordinates(points) * np.float32(self.repeats)).T
        if self.texture == "striped":
            return ((u if self.upright else v) % 1 < np.float32(0.4)).astype(np.float32)
        if self.texture == "checkered":
            return ((np.floor(2 * u) + np.floor(2 * v)) % 2).astype(np.float32)
        if self.texture == "zigzag":
            return ((v + np.float32(0.6) * np.abs(2 * (u % 1) - 1)) % 1 < np.float32(0.4)).astype(np.float32)
        row = np.floor(v)
        count = np.maximum(1, np.round(self.repeats * primitive.ring((row + np.float32(0.5)) / self.repeats)))
        column = u / self.repeats * count + np.float32(0.5) * (row % 2)
        inside = ((column % 1 - np.float32(0.5)) ** 2 + (v % 1 - np.float32(0.5)) ** 2) < np.float32(0.085)
        return inside.astype(np.float32)
