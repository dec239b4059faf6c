"""Round surfaces of the toy world: bodies turned on a lathe, and tubes along a line or an arc."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from toy_world.shapes import TURN, Distances, Number, Origins, Points, Primitive, dot, length

SMOOTH = 0.75  # cosine between neighbouring profile facets above which they are shaded as one round surface
CHINK = 1e-5  # overlap of neighbouring facets in profile units, so that no ray passes between them
STEEP = 8.0  # radius over height above which the two halves of a cone cannot be separated in float32
TRACE_STEPS = 48  # sphere tracing steps; tubes are thin, so a ray converges or leaves within them


@dataclass(frozen=True)
class Revolution(Primitive):
    """The polyline `profile` of (radius, height) rows turned about z. The outside is on the right of its direction."""

    profile: Float[np.ndarray, "m 2"]

    def _cross(self, o: Origins, d: Points, nearest: np.float32) -> Distances:
        best = np.full(len(d), np.inf, np.float32)
        axial, radial = d[:, 2], dot(d[:, :2], d[:, :2])
        along, across = dot(o[:, :2], d[:, :2]), dot(o[:, :2], o[:, :2])
        for (r0, z0), (r1, z1) in zip(self.profile[:-1], self.profile[1:], strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                if abs(z1 - z0) < 1e-6:  # a flat ring
                    t = (z0 - o[:, 2]) / axial
                    square = across + t * (2 * along + t * radial)
                    low, high = sorted((r0, r1))
                    good = (square >= low * low) & (square <= high * high) & (t > nearest)
                    best = np.where(good & (t < best), t, best)
                    continue
                slope = (r1 - r0) / (z1 - z0)
                precision = np.float64 if abs(slope) > STEEP else np.float32
                level = r0 + slope * (o[:, 2] - z0).astype(precision)
                widening = slope * axial.astype(precision)
                a = radial - widening**2
                b = along - widening * level
                c = across - level * level
                discriminant = b * b - a * c
                crossing = np.flatnonzero(discriminant >= 0)
                if not len(crossing):
                    continue
                a, b, discriminant = a[crossing], b[crossing], discriminant[crossing]
                c, start = (x[crossing] if len(x) == len(d) else x for x in (c, o[:, 2]))  # one origin for all, or one per ray
                root = np.sqrt(discriminant)
                low, high = min(z0, z1) - CHINK, max(z0, z1) + CHINK
                # q avoids the cancellation in -b + root, which shows as thin gaps in cones viewed along their axis
                q = -(b + np.where(b >= 0, root, -root))
                step, nearer = axial[crossing], best[crossing]
                for t in (q / a, c / q):
                    z = start + t * step
                    good = (t > nearest) & (z >= low) & (z <= high)
                    nearer = np.where(good & (t < nearer), t, nearer)
                if nearer.dtype != best.dtype:
                    best = best.astype(nearer.dtype)
                best[crossing] = nearer
        return best.astype(np.float32)

    def nearest_on_profile(self, p: Points) -> tuple[Int[np.ndarray, " k"], Distances]:
        """Profile segment nearest to each point, and the fraction along it, 0 to 1."""
        start, edge = self.profile[:-1], np.diff(self.profile, axis=0)
        q = np.stack([length(p[:, :2]), p[:, 2]], 1)
        best, segment, fraction = np.full(len(p), np.inf), np.zeros(len(p), np.int32), np.zeros(len(p), np.float32)
        for i, (a, e) in enumerate(zip(start, edge, strict=True)):
            along = np.clip((q - a) @ e / (e @ e), 0, 1)
            gap = q - a - along[:, None] * e
            square = dot(gap, gap)
            closer = square < best
            best, segment, fraction = (np.where(closer, x, y) for x, y in ((square, best), (i, segment), (along, fraction)))
        return segment.astype(np.int32), fraction.astype(np.float32)

    def _gradient(self, p: Points) -> Points:
        edge = np.diff(self.profile, axis=0)
        normal = np.stack([edge[:, 1], -edge[:, 0]], 1) / length(edge)[:, None]  # the outside is on the right of the profile
        # vertex normals where the profile bends gently, facet normals at its edges
        smooth = dot(normal[1:], normal[:-1]) > SMOOTH
        joint = (normal[1:] + normal[:-1]) / length(normal[1:] + normal[:-1])[:, None].clip(1e-6)
        before, after = normal.copy(), normal.copy()
        before[1:][smooth] = joint[smooth]
        after[:-1][smooth] = joint[smooth]
        segment, along = self.nearest_on_profile(p)
        flat = (1 - along)[:, None] * before[segment] + along[:, None] * after[segment]
        direction = p[:, :2] / np.maximum(length(p[:, :2]), np.float32(1e-9))[:, None]
        return np.concatenate([flat[:, :1] * direction, flat[:, 1:]], 1).astype(np.float32)

    @cached_property
    def walked(self) -> Float[np.ndarray, " m"]:
        """Arc length of the profile up to each of its points, in units of the widest circumference."""
        steps = length(np.diff(self.profile, axis=0)) / (TURN * self.profile[:, 0].max())
        return np.concatenate([[0], np.cumsum(steps)]).astype(np.float32)

    def _surface(self, p: Points) -> Float[np.ndarray, "k 2"]:
        segment, along = self.nearest_on_profile(p)
        v = self.walked[segment] + along * np.diff(self.walked)[segment]
        return np.stack([np.arctan2(p[:, 1], p[:, 0]) / TURN + 0.5, v], 1).astype(np.float32)

    def ring(self, v: Distances) -> Distances:
        """See Primitive."""
        return np.interp(v, self.walked, self.profile[:, 0] / self.profile[:, 0].max()).astype(np.float32)

    def _local_bound(self) -> tuple[Float[np.ndarray, "3"], float]:
        low, high = self.profile[:, 1].min(), self.profile[:, 1].max()
        return np.float32([0, 0, (low + high) / 2]), float(np.hypot(self.profile[:, 0].max(), (high - low) / 2))

    def _local_balls(self) -> Float[np.ndarray, "b 4"]:
        low, high, widest = self.profile[:, 1].min(), self.profile[:, 1].max(), self.profile[:, 0].max()
        count = int(np.clip(np.ceil((high - low) / (2 * widest)), 1, 4))
        height = (high - low) / count
        balls = []
        for z in low + height * (np.arange(count) + 0.5):
            reach = np.abs(self.profile[:, 1] - z) <= height
            radius = self.profile[reach, 0].max() if reach.any() else widest
            balls.append([0, 0, z, min(radius, 0.62 * height + 0.3 * radius)])
        return np.float32(balls)


@dataclass(frozen=True)
class Tube(Primitive):
    """A round tube along an arc of the unit circle in the xy plane, or along the segment from -x to +x of length 2.

    `thickness` is its radius at the start and at the end. The arc runs `half_angle` degrees to both sides of +x.
    """

    thickness: tuple[Number, Number]
    half_angle: Number = 180.0
    straight: bool = False

    def nearest_on_curve(self, p: Points) -> tuple[Points, Distances]:
        """Nearest curve point of each local point, and its fraction along the curve, 0 to 1."""
        curve = np.zeros_like(p)
        if self.straight:
            along = np.clip(p[:, 0], -1, 1)
            curve[:, 0] = along
            return curve, (along + 1) / 2
        limit = np.float32(np.radians(self.half_angle))
        angle = np.clip(np.arctan2(p[:, 1], p[:, 0]), -limit, limit)
        curve[:, 0], curve[:, 1] = np.cos(angle), np.sin(angle)
        return curve, (angle / limit + 1) / 2

    def _cross(self, o: Origins, d: Points, nearest: np.float32) -> Distances:
        o = np.broadcast_to(o, d.shape)
        speed = length(d)
        unit = d / speed[:, None]
        centre, bound = self._local_bound()
        towards = dot(centre - o, unit)
        t = np.maximum(towards - np.float32(bound * 1.01), nearest * speed)
        end = towards + np.float32(bound * 1.01)
        hit = np.full(len(d), np.inf, np.float32)
        active = np.flatnonzero(t < end)
        for _ in range(TRACE_STEPS):
            p = o[active] + t[active, None] * unit[active]
            curve, along = self.nearest_on_curve(p)
            radius = self.thickness[0] + (self.thickness[1] - self.thickness[0]) * along
            gap = length(p - curve) - radius
            close = gap < 2e-3 * min(self.thickness)
            hit[active[close]] = t[active[close]]
            t[active] += np.float32(0.95) * np.maximum(gap, np.float32(1e-4))
            active = active[~close & (t[active] < end[active])]
            if not len(active):
                break
        return np.where(hit > nearest * speed, hit / speed, np.float32(np.inf))

    def _gradient(self, p: Points) -> Points:
        return p - self.nearest_on_curve(p)[0]

    def _surface(self, p: Points) -> Float[np.ndarray, "k 2"]:
        curve, along = self.nearest_on_curve(p)
        reach = 2.0 if self.straight else 2 * np.radians(self.half_angle)
        offset = p - curve
        outward = offset[:, 1] if self.straight else dot(offset, curve)
        around = np.arctan2(offset[:, 2], outward) / TURN + 0.5
        return np.stack([around, along * reach / (TURN * max(self.thickness))], 1).astype(np.float32)

    def _local_bound(self) -> tuple[Float[np.ndarray, "3"], float]:
        return np.zeros(3, np.float32), 1 + max(self.thickness)

    def _local_balls(self) -> Float[np.ndarray, "b 4"]:
        thick = sum(self.thickness) / 2
        if self.straight:
            return np.float32([[x, 0, 0, thick] for x in (-0.7, 0, 0.7)])
        angles = np.radians(self.half_angle) * np.linspace(-0.9, 0.9, 6)
        return np.float32([[np.cos(a), np.sin(a), 0, thick] for a in angles])
