"""A COLMAP model of a toy world, as structure from motion would reconstruct it."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from toy_world.render import Picture
from workspace import atomic

PINHOLE = 1  # COLMAP's id of the camera model
POSITION_NOISE = 0.002  # world units, standard deviation; the table is 2.8 wide
KEYPOINT_NOISE = 0.4  # pixels, standard deviation
KEPT = 0.5  # share of the views of a visible point that have an observation of it
DETAIL = 0.5  # share of points sampled where the picture has detail, as feature detectors do


class Cloud(NamedTuple):
    """Points and their observations, one per row, sorted by view."""

    xyz: Float[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    views: Int[np.ndarray, " o"]
    points: Int[np.ndarray, " o"]
    pixels: Float[np.ndarray, "o 2"]


def sample_cloud(cameras: Sequence[Camera], pictures: Mapping[str, Picture], count: int, seed: int) -> Cloud:
    """About `count` points on visible surfaces with noise, each with the views in which it is visible (at least two)."""
    rng = np.random.default_rng([seed, 2])
    share = np.diff(np.linspace(0, count, len(cameras) + 1).astype(int))
    drawn = [_draw(rng, camera, pictures[camera.name], int(k)) for camera, k in zip(cameras, share, strict=True)]
    xyz, rgb = np.concatenate([x for x, _ in drawn]), np.concatenate([c for _, c in drawn])
    views, points, pixels = [], [], []
    for v, camera in enumerate(cameras):
        depth = pictures[camera.name].depth
        local = xyz @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        pixel = local[:, :2] / np.maximum(local[:, 2:], 1e-3) * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        inside = (local[:, 2] > 0.2) & (pixel >= 0).all(1) & (pixel < [camera.width, camera.height]).all(1)
        index = np.flatnonzero(inside & (rng.random(len(xyz)) < KEPT))
        x, y = pixel[index].astype(int).T
        index = index[np.abs(depth[y, x] - local[index, 2]) < 0.02]
        views.append(np.full(len(index), v))
        points.append(index)
        pixels.append(pixel[index] + rng.normal(0, KEYPOINT_NOISE, (len(index), 2)))
    views, points, pixels = np.concatenate(views), np.concatenate(points), np.concatenate(pixels)
    seen = np.bincount(points, minlength=len(xyz)) >= 2
    renumbered = np.cumsum(seen) - 1
    kept = seen[points]
    noisy = xyz[seen] + rng.normal(0, POSITION_NOISE, (int(seen.sum()), 3))
    return Cloud(noisy, rgb[seen], views[kept], renumbered[points[kept]], pixels[kept])


def _draw(
    rng: np.random.Generator, camera: Camera, picture: Picture, count: int
) -> tuple[Float[np.ndarray, "k 3"], UInt8[np.ndarray, "k 3"]]:
    gray = picture.image.astype(np.float64).mean(2)
    detail = np.hypot(*np.gradient(gray)).ravel()
    chance = (1 - DETAIL) / detail.size + DETAIL * detail / max(detail.sum(), 1e-9)
    index = rng.choice(detail.size, count, p=chance / chance.sum())
    y, x = np.divmod(index, camera.width)
    z = picture.depth[y, x].astype(np.float64)
    local = np.stack([(x + 0.5 - camera.cx) / camera.fx * z, (y + 0.5 - camera.cy) / camera.fy * z, z], 1)
    world = (local - camera.world_to_camera[:3, 3]) @ camera.world_to_camera[:3, :3]
    return world, picture.image[y, x]


def write_colmap(folder: Path, cameras: Sequence[Camera], names: Sequence[str], cloud: Cloud) -> None:
    """Write `cameras.bin`, `images.bin` and `points3D.bin` with one shared PINHOLE camera. `names` are image file names."""
    first = cameras[0]
    with atomic(folder / "cameras.bin") as temporary:
        shared = struct.pack("<QiiQQ4d", 1, 1, PINHOLE, first.width, first.height, first.fx, first.fy, first.cx, first.cy)
        temporary.write_bytes(shared)
    starts = np.searchsorted(cloud.views, np.arange(len(cameras) + 1))
    with atomic(folder / "images.bin") as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(cameras)))
        for v, (camera, name) in enumerate(zip(cameras, names, strict=True)):
            x, y, z, w = Rotation.from_matrix(camera.world_to_camera[:3, :3]).as_quat()
            file.write(struct.pack("<i7di", v + 1, w, x, y, z, *camera.world_to_camera[:3, 3], 1))
            file.write(name.encode() + b"\0")
            rows = slice(starts[v], starts[v + 1])
            observed = np.empty(rows.stop - rows.start, np.dtype([("xy", "<f8", 2), ("point", "<i8")]))
            observed["xy"], observed["point"] = cloud.pixels[rows], cloud.points[rows] + 1
            file.write(struct.pack("<Q", len(observed)) + observed.tobytes())
    order = np.argsort(cloud.points, kind="stable")
    bounds = np.searchsorted(cloud.points[order], np.arange(len(cloud.xyz) + 1))
    within = np.arange(len(cloud.views)) - starts[cloud.views]
    track = np.stack([cloud.views + 1, within], 1).astype("<i4")[order]
    with atomic(folder / "points3D.bin") as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(cloud.xyz)))
        for k, (xyz, rgb) in enumerate(zip(cloud.xyz, cloud.rgb, strict=True)):
            seen = track[bounds[k] : bounds[k + 1]]
            file.write(struct.pack("<Q3d3BdQ", k + 1, *xyz, *rgb, KEYPOINT_NOISE, len(seen)) + seen.tobytes())
