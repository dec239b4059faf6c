"""Ray caster of the toy world: exact visibility, an area light with soft shadows, ambient occlusion, antialiasing.

Nothing is random and surfaces are nearly diffuse, so a point looks the same in all views.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from scene.camera import Camera
from toy_world.compose import FLOOR, ROOM, TABLE, World
from toy_world.light import Lightmap, display
from toy_world.shapes import EPSILON, Distances, Points, dot, length
from toy_world.tracing import Tracer, items_of

SUBSAMPLES = np.float32([[-0.33, -0.12], [0.12, -0.33], [0.33, 0.12], [-0.12, 0.33]])  # rotated grid of subpixel offsets
CONTRAST = 0.035  # difference to a neighbour, in displayed brightness, above which a pixel is supersampled
SMOOTH_NORMALS = 0.95  # cosine between normals above which neighbouring pixels may share their light
RAYS = 1 << 17  # shadow rays traced at a time
BAND = 1 << 15  # rays traced at a time; their working set fits in the cache of a core
LAMP_SAMPLES = 3  # shadow rays per edge of the lamp, from a point on an object
BAKED_SAMPLES = 7  # shadow rays per edge of the lamp, from the table and the floor


class Picture(NamedTuple):
    """One rendered view: colours, and at each pixel's centre the part id and the depth along the optical axis."""

    image: UInt8[np.ndarray, "h w 3"]
    parts: Int[np.ndarray, "h w"]
    depth: Float[np.ndarray, "h w"]


class Hits(NamedTuple):
    """Surface points behind pixels: position, normal, primitive index, ray direction, depth along the optical axis."""

    points: Points
    normals: Points
    primitive: Int[np.ndarray, " k"]
    directions: Points
    depth: Distances


class Renderer:
    """Renders one world. The constructor samples the lightmaps of the table and the floor; `detail` scales their cost."""

    def __init__(self, world: World, detail: float = 1.0) -> None:
        self.world = world
        self.part_of = np.int32([part for part, _ in world.primitives])
        self.item_of = items_of(world)
        self.gloss = np.float32([world.parts[part][1].material.gloss for part in self.part_of])
        kinds = [item.kind for item in world.items]
        self.table, self.floor, self.wall = kinds.index("table"), kinds.index("floor"), kinds.index("wall")
        self.tracer = Tracer(world, {self.floor, self.wall})
        self.origins = np.float32([centre * [1, 1, 0] for centre in self.tracer.centres])
        self.blockers = np.concatenate(
            [world.primitives[k][1].balls() for i in range(world.num_objects) for k in self.tracer.members[i]]
        )
        self.lightmaps = {
            self.table: self._bake(TABLE, 0.0, int(240 * detail), BAKED_SAMPLES if detail >= 1 else LAMP_SAMPLES),
            self.floor: self._bake(ROOM[:2], FLOOR, int(150 * detail), BAKED_SAMPLES if detail >= 1 else LAMP_SAMPLES),
        }

    def _bake(self, half: tuple[float, float], height: float, columns: int, samples: int) -> Lightmap:
        rows = max(8, int(columns * half[1] / half[0]))
        x = ((np.arange(columns) + 0.5) / columns * 2 - 1) * half[0]
        y = ((np.arange(rows) + 0.5) / rows * 2 - 1) * half[1]
        grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        points = np.concatenate([grid, np.full((len(grid), 1), height)], 1).astype(np.float32)
        normals = np.tile(np.float32([0, 0, 1]), (len(points), 1))
        values = np.stack([self.direct(points, normals, np.full(len(points), -1), samples), self.openness(points, normals)], 1)
        return Lightmap(half, height, values.reshape(rows, columns, 2))

    def lamp_points(self, per_edge: int) -> Points:
        """Sample points on the lamp, `per_edge` by `per_edge`."""
        light = self.world.light
        s = (np.arange(per_edge, dtype=np.float32) + np.float32(0.5)) / per_edge
        a, b = np.meshgrid(s, s)
        return light.corner + a.reshape(-1, 1) * light.edges[0] + b.reshape(-1, 1) * light.edges[1]

    def direct(self, points: Points, normals: Points, hit: Int[np.ndarray, " k"], per_edge: int) -> Distances:
        """Light from the lamp, 0 to about 1: the mean over the lamp of cosine times visibility. `hit` are the primitives
        the points lie on, -1 for none."""
        lamps = self.lamp_points(per_edge)
        total = np.zeros(len(points), np.float32)
        at_once = max(1, RAYS // len(lamps))
        for begin in range(0, len(points), at_once):
            some = slice(begin, begin + at_once)
            total[some] = self._lamp_light(points[some] + normals[some] * (8 * EPSILON), normals[some], hit[some], lamps)
        return total / np.float32(len(lamps))

    def _lamp_light(
        self, origins: Points, normals: Points, hit: Int[np.ndarray, " k"], lamps: Float[np.ndarray, "j 3"]
    ) -> Distances:
        """Sum over the lamp's points of cosine times visibility. All rays go through the objects at once: calls cost more
        than arithmetic where few rays come near an object."""
        rays = [lamp - origins for lamp in lamps]
        distances = [length(ray) for ray in rays]
        cosines = [dot(ray, normals) / distance for ray, distance in zip(rays, distances, strict=True)]
        lit = [np.flatnonzero(cosine > 0) for cosine in cosines]
        index = np.concatenate(lit)
        distance = np.concatenate([x[i] for x, i in zip(distances, lit, strict=True)])
        directions = np.concatenate([x[i] for x, i in zip(rays, lit, strict=True)]) / distance[:, None]
        square = (self.tracer.centres**2).sum(1)[:, None] - 2 * self.tracer.centres @ origins.T + dot(origins, origins)
        free = ~self.tracer.blocked(origins[index], directions, distance, hit[index], square[:, index])
        total = np.zeros(len(origins), np.float32)
        for cosine, here, seen in zip(cosines, lit, np.split(free, np.cumsum([len(x) for x in lit])[:-1]), strict=True):
            total[here[seen]] += cosine[here[seen]]
        return total

    def openness(self, points: Points, normals: Points) -> Distances:
        """Share of ambient light that reaches a point, with the objects approximated by balls."""
        blocked = np.zeros(len(points), np.float32)
        for ball in self.blockers:
            offset = ball[:3] - points
            square = dot(offset, offset)
            cosine = dot(offset, normals) / np.sqrt(np.maximum(square, np.float32(1e-6)))
            blocked += np.maximum(cosine, 0) * np.minimum(ball[3] ** 2 / np.maximum(square, np.float32(1e-6)), 1)
        return np.exp(np.float32(-0.9) * blocked)

    def normals(self, points: Points, hit: Int[np.ndarray, " k"], directions: Points) -> Points:
        """Unit surface normals on the side that the rays come from."""
        normals = np.empty_like(points)
        for k, here in _grouped(hit):
            normals[here] = self.world.primitives[k][1].normals(points[here])
        away = dot(normals, directions) > 0
        normals[away] *= -1  # back face of a thin wall
        return normals

    def albedo(self, points: Points, hit: Int[np.ndarray, " k"]) -> Points:
        """Linear surface colour."""
        color = np.empty_like(points)
        for k, here in _grouped(hit):
            material = self.world.parts[self.part_of[k]][1].material
            solid = points[here] - self.origins[self.item_of[k]]
            color[here] = material.albedo(self.world.primitives[k][1], points[here], solid)
        return color

    def illuminate(self, points: Points, normals: Points, hit: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k 2"]:
        """Direct light and openness at surface points."""
        item = self.item_of[hit]
        result = np.empty((len(points), 2), np.float32)
        wall = item == self.wall
        result[wall] = self._wall_light(points[wall], normals[wall])
        rest = ~wall
        for mapped, lightmap in self.lightmaps.items():
            here = (item == mapped) & (normals[:, 2] > 0.5)
            result[here] = lightmap.look_up(points[here])
            rest &= ~here
        result[rest, 0] = self.direct(points[rest], normals[rest], hit[rest], LAMP_SAMPLES)
        result[rest, 1] = self.openness(points[rest], normals[rest])
        return result

    def _wall_light(self, points: Points, normals: Points) -> Float[np.ndarray, "k 2"]:
        light = self.world.light
        corner = np.minimum(ROOM[0] - np.abs(points[:, 0]), points[:, 2] - FLOOR)
        openness = np.float32(0.72) + np.float32(0.28) * np.clip(corner, 0, 1) ** np.float32(0.6)
        ray = light.corner + light.edges.sum(0) / 2 - points
        direct = np.maximum(dot(ray, normals), 0) / length(ray) * np.float32(0.6) + np.float32(0.12)
        return np.stack([direct, openness], 1)

    def shade(self, hits: Hits, light: Float[np.ndarray, "k 2"]) -> Points:
        """Displayed colour, 0 to 1, of surface points under `light` (see `illuminate`)."""
        lamp = self.world.light
        up = (hits.normals[:, 2:] + 1) / 2
        incoming = np.float32(1.1) * light[:, :1] * lamp.color + light[:, 1:] * (lamp.sky * up + lamp.bounce * (1 - up))
        gloss = self.gloss[hits.primitive] * np.minimum(1, 2 * light[:, 0])  # no highlight in the shade
        highlight = gloss * self._highlight(hits.points, hits.normals, hits.directions)
        return display(self.albedo(hits.points, hits.primitive) * incoming + highlight[:, None])

    def _highlight(self, points: Points, normals: Points, directions: Points) -> Distances:
        light = self.world.light
        ray = light.corner + light.edges.sum(0) / 2 - points
        half = ray / length(ray)[:, None] - directions
        half /= np.maximum(length(half), np.float32(1e-6))[:, None]
        return np.maximum(dot(half, normals), 0) ** 40

    def cast(self, camera: Camera, pixels: Float[np.ndarray, "k 2"]) -> Hits:
        """First surface behind pixel coordinates (x, y)."""
        local = np.ones((len(pixels), 3), np.float32)
        local[:, :2] = (pixels - np.float32([camera.cx, camera.cy])) / np.float32([camera.fx, camera.fy])
        slant = length(local)
        directions = (local / slant[:, None]) @ camera.world_to_camera[:3, :3].astype(np.float32)
        origin = camera.center.astype(np.float32)
        bands = np.array_split(directions, max(1, len(directions) // BAND))
        t, hit = (np.concatenate(x) for x in zip(*(self.tracer.trace(origin, band) for band in bands), strict=True))
        points = origin + t[:, None] * directions
        return Hits(points, self.normals(points, hit, directions), hit, directions, t / slant)

    def render(self, camera: Camera, antialias: bool = True) -> Picture:
        """The camera's picture."""
        width, height = camera.width, camera.height
        x, y = np.meshgrid(np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32))
        pixels = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32) + np.float32(0.5)
        hits = self.cast(camera, pixels)
        light = self._light_of_pixels(hits, ((x | y) & 1 == 0).ravel(), width)
        color = self.shade(hits, light)
        parts = self.part_of[hits.primitive].reshape(height, width)
        if antialias:
            uneven = np.flatnonzero(_uneven(color.reshape(height, width, 3), parts))
            total = np.zeros((len(uneven), 3), np.float32)
            for offset in SUBSAMPLES:
                fine = self.cast(camera, pixels[uneven] + offset)
                total += self.shade(fine, self._borrow_light(fine, uneven, hits, light, width))
            color[uneven] = total / len(SUBSAMPLES)
        image = np.uint8(np.clip(color * 255 + 0.5, 0, 255)).reshape(height, width, 3)
        return Picture(image, parts, hits.depth.reshape(height, width))

    def _light_of_pixels(self, hits: Hits, chosen: Bool[np.ndarray, " p"], width: int) -> Float[np.ndarray, "p 2"]:
        """Light at every pixel: computed at the chosen ones, interpolated on smooth surfaces between them. Lightmapped
        surfaces and walls need only a look-up, so all their pixels are computed."""
        chosen = chosen | np.isin(self.item_of[hits.primitive], (self.wall, *self.lightmaps))
        light = np.full((len(chosen), 2), np.nan, np.float32)
        light[chosen] = self.illuminate(hits.points[chosen], hits.normals[chosen], hits.primitive[chosen])
        rest = np.flatnonzero(~chosen)
        light[rest] = self._borrow_light(Hits(*(x[rest] for x in hits)), rest, hits, light, width)
        return light

    def _borrow_light(
        self, wanted: Hits, index: Int[np.ndarray, " k"], hits: Hits, light: Float[np.ndarray, "p 2"], width: int
    ) -> Float[np.ndarray, "k 2"]:
        """Mean of the known light in the 3x3 pixels around `index` on the same smooth surface; computed where no
        neighbour qualifies."""
        total, count = np.zeros((len(index), 2), np.float32), np.zeros(len(index), np.float32)
        height = len(light) // width
        row, column = np.divmod(index, width)
        for dy, dx in np.ndindex(3, 3):
            near = np.clip(row + dy - 1, 0, height - 1) * width + np.clip(column + dx - 1, 0, width - 1)
            same = (hits.primitive[near] == wanted.primitive) & ~np.isnan(light[near, 0])
            same[same] = dot(hits.normals[near[same]], wanted.normals[same]) > SMOOTH_NORMALS
            total[same] += light[near[same]]
            count += same
        alone = count == 0
        total /= np.maximum(count, 1)[:, None]
        total[alone] = self.illuminate(wanted.points[alone], wanted.normals[alone], wanted.primitive[alone])
        return total


def _grouped(hit: Int[np.ndarray, " k"]) -> Iterator[tuple[int, Int[np.ndarray, " m"]]]:
    """Each primitive that was hit, with the indices of its points."""
    order = np.argsort(hit.astype(np.int16), kind="stable")  # a radix sort; a world has some hundred primitives
    primitives, starts = np.unique(hit[order], return_index=True)
    return zip(primitives.tolist(), np.split(order, starts[1:]), strict=True)


def _uneven(image: Float[np.ndarray, "h w 3"], ids: Int[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    uneven = np.zeros(ids.shape, bool)
    for axis in (0, 1):
        step = (np.abs(np.diff(image, axis=axis)).max(2) > CONTRAST) | (np.diff(ids, axis=axis) != 0)
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        uneven[tuple(first)] |= step
        uneven[tuple(second)] |= step
    return uneven
