"""Rays against the surfaces of a toy world: the first one hit, and whether one is in between."""

import numpy as np
from jaxtyping import Bool, Float, Int

from toy_world.compose import World
from toy_world.shapes import Distances, Ellipsoid, Points, Polytope, dot

MARGIN = np.float32(1.02)  # factor on squared bounding radii, far above float32 rounding


def items_of(world: World) -> Int[np.ndarray, " primitives"]:
    """The item that each primitive belongs to."""
    return np.int32([world.parts[part][0] for part, _ in world.primitives])


class Tracer:
    """The primitives of a world within bounding balls of their own and of their items.

    Items in `surroundings` (floor and wall) are tested by every ray and shadow nothing.
    """

    def __init__(self, world: World, surroundings: set[int]) -> None:
        self.world, self.surroundings = world, surroundings
        items = items_of(world)
        self.members = [np.flatnonzero(items == i) for i in range(len(world.items))]
        self.bounds = [primitive.bounding_ball() for _, primitive in world.primitives]
        self.convex = [isinstance(primitive, (Ellipsoid, Polytope)) for _, primitive in world.primitives]
        balls = [self._enclose(i) for i in range(len(world.items))]
        self.centres = np.float32([c for c, _ in balls])
        self.radii = np.float32([r for _, r in balls])

    def _enclose(self, item: int) -> tuple[Float[np.ndarray, "3"], float]:
        bounds = [self.bounds[k] for k in self.members[item]]
        low = np.min([c - r for c, r in bounds], axis=0)
        high = np.max([c + r for c, r in bounds], axis=0)
        centre = (low + high) / 2
        return centre, max(float(np.linalg.norm(c - centre)) + r for c, r in bounds)

    def trace(self, origin: Float[np.ndarray, " 3"], directions: Points) -> tuple[Distances, Int[np.ndarray, " k"]]:
        """Distance along unit `directions` to the first surface, and the primitive hit."""
        best = np.full(len(directions), np.inf, np.float32)
        hit = np.zeros(len(directions), np.int32)
        offsets = self.centres - origin
        towards = offsets @ directions.T  # [items, k]: row i belongs to item i
        near_ball = ((offsets**2).sum(1)[:, None] - towards**2 < self.radii[:, None] ** 2) & (towards > -self.radii[:, None])
        for i in range(len(self.world.items)):
            near = np.arange(len(directions))
            if i not in self.surroundings:
                near = np.flatnonzero(near_ball[i])
            for k in self.members[i] if len(near) else ():
                rays = near[self._towards(int(k), origin, directions[near])] if len(self.members[i]) > 1 else near
                t = self.world.primitives[k][1].intersect(origin[None], directions[rays], 1e-3)
                closer = t < best[rays]
                best[rays[closer]], hit[rays[closer]] = t[closer], k
        return best, hit

    def _towards(self, primitive: int, origin: Float[np.ndarray, " 3"], directions: Points) -> Bool[np.ndarray, " k"]:
        """Whether each ray from `origin` meets the bounding ball of a primitive."""
        centre, radius = self.bounds[primitive]
        offset = centre - origin
        along = directions @ offset
        return (offset @ offset - along * along < MARGIN * radius * radius) & (along > -radius)

    def blocked(
        self,
        origins: Points,
        directions: Points,
        distances: Distances,
        hit: Int[np.ndarray, " k"],
        square: Float[np.ndarray, "items k"],
    ) -> Bool[np.ndarray, " k"]:
        """Whether an object lies within `distances` along each ray. A convex primitive does not shadow its own lit side.

        `square` are the squared distances of the origins from the centres of all items.
        """
        result = np.zeros(len(origins), bool)
        along = self.centres @ directions.T - dot(directions, origins)
        crossed = (square - along**2 < self.radii[:, None] ** 2) & (along > -self.radii[:, None])
        for i in range(len(self.world.items)):
            if i in self.surroundings:
                continue
            near = np.flatnonzero(crossed[i])
            near = near[~result[near]]
            for k in self.members[i]:
                centre, radius = self.bounds[k]
                offset = centre - origins[near]
                b = dot(offset, directions[near])
                passing = (dot(offset, offset) - b * b < radius * radius) & (b > -radius)
                if self.convex[k]:
                    passing &= hit[near] != k
                rays = near[passing]
                if len(rays):
                    t = self.world.primitives[k][1].intersect(origins[rays], directions[rays], 1e-3)
                    result[rays[t < distances[rays]]] = True
        return result
