"""A toy world as OpenGaussian's copy of a ScanNet scene: a labelled scan, photographs, and Blender's camera files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image
from plyfile import PlyData, PlyElement

from scene.camera import Camera
from toy_world.compose import World
from toy_world.render import Picture
from workspace import atomic, write_json

NYU40 = {"wall": 1, "floor": 2, "table": 7}
OTHER_PROP = 40  # everything on the table; none of the 19 classes
HELD_OUT = 8


def write_scan(
    folder: Path, world: World, cameras: Sequence[Camera], pictures: Sequence[Picture], points: int, seed: int
) -> None:
    """Write `color/<i>.jpg`, `transforms_{train,test}.json`, `points3d.ply`, `<scene>_vh_clean_2.ply` and its `.labels.ply`.

    The points of all three clouds are the same in the same order, as the protocol requires.
    """
    for i, picture in enumerate(pictures):
        with atomic(folder / "color" / f"{20 * i}.jpg") as temporary:
            Image.fromarray(picture.image).save(temporary, format="JPEG", quality=95, subsampling=0)
    first = cameras[0]
    intrinsics = {"w": first.width, "h": first.height, "fl_x": first.fx, "fl_y": first.fy, "cx": first.cx, "cy": first.cy}
    for split, wanted in (("train", range(len(cameras))), ("test", range(0, len(cameras), HELD_OUT))):
        frames = [{"file_path": f"color/{20 * i}", "transform_matrix": _pose(cameras[i])} for i in wanted]
        write_json(folder / f"transforms_{split}.json", intrinsics | {"frames": frames})
    xyz, rgb, parts = _surface(cameras, pictures, points, seed)
    labels = np.array([NYU40.get(_surrounding(world, item), OTHER_PROP) for item, _ in world.parts], np.uint16)[parts]
    _write_ply(folder / "points3d.ply", xyz, rgb, normals=True)
    _write_ply(folder / f"{folder.name}_vh_clean_2.ply", xyz, rgb)
    _write_ply(folder / f"{folder.name}_vh_clean_2.labels.ply", xyz, rgb, labels=labels)


def _surrounding(world: World, item: int) -> str:
    return "" if item < world.num_objects else world.items[item].kind


def _pose(camera: Camera) -> list[list[float]]:
    """Camera to world in OpenGL axes."""
    return (np.linalg.inv(camera.world_to_camera) @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist()


def _surface(
    cameras: Sequence[Camera], pictures: Sequence[Picture], count: int, seed: int
) -> tuple[Float[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"], Integer[np.ndarray, " n"]]:
    """Surface points behind pixels sampled uniformly from all pictures: positions, colours, part ids."""
    rng = np.random.default_rng([seed, 3])
    shares = np.diff(np.linspace(0, count, len(cameras) + 1).astype(int))
    positions, colors, parts = [], [], []
    for camera, picture, share in zip(cameras, pictures, shares, strict=True):
        y, x = np.divmod(rng.choice(picture.depth.size, share, replace=False), camera.width)
        z = picture.depth[y, x].astype(np.float64)
        local = np.stack([(x + 0.5 - camera.cx) / camera.fx * z, (y + 0.5 - camera.cy) / camera.fy * z, z], 1)
        positions.append((local - camera.world_to_camera[:3, 3]) @ camera.world_to_camera[:3, :3])
        colors.append(picture.image[y, x])
        parts.append(picture.parts[y, x])
    return np.concatenate(positions), np.concatenate(colors), np.concatenate(parts)


def _write_ply(
    path: Path,
    xyz: Float[np.ndarray, "n 3"],
    rgb: UInt8[np.ndarray, "n 3"],
    normals: bool = False,
    labels: Integer[np.ndarray, " n"] | None = None,
) -> None:
    columns = [(name, "f4", xyz[:, i]) for i, name in enumerate("xyz")]
    if normals:
        columns += [(name, "f4", np.zeros(len(xyz))) for name in ("nx", "ny", "nz")]
    columns += [(name, "u1", rgb[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    if not normals:
        columns.append(("alpha", "u1", np.full(len(xyz), 255)))
    if labels is not None:
        columns.append(("label", "u2", labels))
    table = np.empty(len(xyz), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        table[name] = values
    with atomic(path) as temporary:
        PlyData([PlyElement.describe(table, "vertex")]).write(str(temporary))
