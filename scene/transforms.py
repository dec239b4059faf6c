"""Scenes described by JSON: Blender's `transforms_train.json` and nerfstudio's `transforms.json`.

Both store camera-to-world matrices in OpenGL axes (x right, y up, z backward).
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from scene.camera import LARGEST_SIDE, Camera
from scene.lens import NEGLIGIBLE, largest_shift
from scene.photographs import describe_missing, find_photographs, names_text
from workspace import IMAGE_SUFFIXES, InputError, image_key, read_json
from workspace.image_reader import open_picture

log = logging.getLogger(__name__)

_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL")  # if coefficients are 0


def read_blender(root: Path) -> tuple[list[Camera], list[Camera]]:
    """Training and test cameras of a Blender scene; a view in both lists is a test view.

    Intrinsics come from `camera_angle_x` (square pixels, principal point at the image centre), or from nerfstudio's fields
    scaled to the photograph, as in OpenGaussian's ScanNet scenes. Those also have frames with a non-finite pose, which are
    logged and skipped.
    """
    splits = []
    for split in ("train", "test"):
        path = root / f"transforms_{split}.json"
        if split == "test" and not path.exists():
            splits.append([])
            continue
        table = _table(path)
        names = [_with_suffix(root, _file_path(path, frame)) for frame in table["frames"]]
        paths = find_photographs(root, names)
        cameras, blind = [], []
        for name, image_path, frame in zip(names, paths, table["frames"], strict=True):
            if _without_pose(frame):
                blind.append(name)
                continue
            pose = _world_to_camera(path, name, frame)
            cameras.append(_blender_camera(path, {**table, **frame}, image_key(name), pose, image_path))
        if blind:
            log.warning("%s: %s have no finite pose; these frames are passed over.", path, names_text(blind))
        splits.append(cameras)
    train, test = splits
    in_test = {camera.name for camera in test}
    return [camera for camera in train if camera.name not in in_test], test


def _blender_camera(path: Path, values: Mapping[str, Any], key: str, pose: Float[np.ndarray, "4 4"], image_path: Path) -> Camera:
    """Camera scaled to its photograph's size; the JSON file may give intrinsics for another size."""
    width, height = _size(image_path)
    if "fl_x" not in values:
        focal = _focal(path, values, width)
        return Camera(key, pose, focal, focal, width / 2, height / 2, width, height, image_path)
    w, h = (_pixels(path, values, name) if name in values else size for name, size in (("w", width), ("h", height)))
    fx = _number(path, values, "fl_x")
    fy = _number(path, values, "fl_y") if "fl_y" in values else fx
    cx, cy = (_number(path, values, name) if name in values else side / 2 for name, side in (("cx", w), ("cy", h)))
    return Camera(key, pose, fx, fy, cx, cy, w, h, image_path).resized(width, height)


def _without_pose(frame: Mapping[str, Any]) -> bool:
    """Whether the pose matrix has missing numbers; anything that is not a matrix is reported by `_world_to_camera`."""
    try:
        matrix = np.array(frame.get("transform_matrix"), np.float64)
    except (TypeError, ValueError):
        return False
    return matrix.ndim == 2 and bool(np.isnan(matrix).any())


def read_nerfstudio(root: Path, images: str = "images", ignore_distortion: bool = False) -> tuple[list[Camera], Path | None]:
    """Cameras of a nerfstudio or instant-ngp scene, and the path of the point cloud it names, if any.

    Intrinsics are at the top level or in each frame. Frames whose photograph is missing are logged and skipped, since
    published scenes list such frames; `images` replaces the folder `images` in their paths. `ignore_distortion` treats
    perspective cameras with distortion k1, k2, p1, p2 as pinholes; without it, only those whose distortion moves every pixel
    by less than half a pixel.

    Raises:
        InputError: the cameras have distortion, an intrinsic is missing, or all photographs are missing.
    """
    path = root / "transforms.json"
    table = _table(path)
    frames = {}
    for frame in table["frames"]:
        name = Path(_file_path(path, frame))
        if name.parts[0] == "images":
            name = Path(images, *name.parts[1:])
        frames[_with_suffix(root, name.as_posix())] = frame
    missing = [name for name in frames if not (root / name).is_file()]
    if len(missing) == len(frames):
        raise InputError(f"{path} does not match its folder. " + describe_missing(root, missing, len(frames)))
    if missing:
        log.warning(describe_missing(root, missing, len(frames)) + "\nThese frames are passed over.")
    if any("mask_path" in frame for frame in frames.values()):
        log.warning("%s names masks; they are not used, every pixel counts.", path)

    cameras = []
    for name, frame in frames.items():
        if name in missing:
            continue
        values = {**table, **frame}
        known = "w" in values and "h" in values
        width, height = (_pixels(path, values, k) for k in ("w", "h")) if known else _size(root / name)
        fx = _number(path, values, "fl_x") if "fl_x" in values else _focal(path, values, width)
        fy = _number(path, values, "fl_y") if "fl_y" in values else fx
        cx = _number(path, values, "cx") if "cx" in values else width / 2
        cy = _number(path, values, "cy") if "cy" in values else height / 2
        _refuse_distortion(root, path, values, (fx, fy), (cx, cy), (width, height), ignore_distortion)
        key = image_key(Path(name).relative_to(images) if Path(name).parts[0] == images else name)
        cameras.append(Camera(key, _world_to_camera(path, name, frame), fx, fy, cx, cy, width, height, root / name))
    points = table.get("ply_file_path")
    if points is not None and not isinstance(points, str):
        raise InputError(f"{path}: ply_file_path is {points!r}; expected the path of a point cloud.")
    return cameras, root / points if points else None


def random_points(
    cameras: Sequence[Camera], half_side: float | None = None, count: int = 100_000
) -> tuple[Float[np.ndarray, "k 3"], np.ndarray]:
    """Initial points for a scene without any: grey, uniform in a cube, from a fixed seed.

    Blender scenes use the published cube, centred at the origin with `half_side` 1.3. Without `half_side` the cube is centred
    at the point nearest to all optical axes, and `half_side` is the distance of the farthest camera.
    """
    center = np.zeros(3)
    if half_side is None:
        origins = np.stack([camera.center for camera in cameras])
        axes = np.stack([camera.world_to_camera[2, :3] for camera in cameras])
        off_axis = np.eye(3) - axes[:, :, None] * axes[:, None, :]
        # least squares; a small ridge towards the mean camera position keeps it solvable when the axes are parallel
        ridge = 1e-3 * len(cameras) * np.eye(3)
        center = np.linalg.solve(off_axis.sum(0) + ridge, np.einsum("nij,nj->i", off_axis, origins) + ridge @ origins.mean(0))
        half_side = float(np.linalg.norm(origins - center, axis=1).max())
    rng = np.random.default_rng(0)
    xyz = center + rng.uniform(-half_side, half_side, (count, 3))
    # the published recipe draws SH coefficients in [0, 1/255), which is this grey to within half a level
    rgb = np.full((count, 3), 128, np.uint8)
    return xyz.astype(np.float32), rgb


def _table(path: Path) -> Mapping[str, Any]:
    table = read_json(path, nan_as_none=True)  # NaN in a pose: the frame was not registered
    if not isinstance(table, dict) or not isinstance(table.get("frames"), list) or not table["frames"]:
        raise InputError(f"{path} has no list of frames; it is not a Blender or nerfstudio scene.")
    return table


def _file_path(path: Path, frame: Mapping[str, Any]) -> str:
    name = frame.get("file_path") if isinstance(frame, dict) else None
    if not isinstance(name, str) or not Path(name).name:
        raise InputError(f"{path}: a frame without file_path.")
    image_key(name)  # rejects names outside the scene and names that no file can have
    return Path(name).as_posix()  # drops a leading ./


def _with_suffix(root: Path, name: str) -> str:
    """Blender omits the extension: add that of the existing file, or .png if there is none."""
    if Path(name).suffix.lower() in IMAGE_SUFFIXES:
        return name
    return next((name + suffix for suffix in IMAGE_SUFFIXES if (root / (name + suffix)).is_file()), name + ".png")


def _size(path: Path) -> tuple[int, int]:
    with open_picture(path) as image:
        return image.size


def _focal(path: Path, table: Mapping[str, Any], width: int) -> float:
    if "camera_angle_x" not in table:
        raise InputError(f"{path} gives no focal length: neither fl_x nor camera_angle_x.")
    angle = _number(path, table, "camera_angle_x")
    if not 0 < angle < math.pi:
        raise InputError(f"{path}: camera_angle_x is {angle!r}; expected the horizontal field of view in radians, 0 to pi.")
    return width / (2 * math.tan(angle / 2))


def _number(path: Path, values: Mapping[str, Any], name: str) -> float:
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path}: {name} is {value!r}; expected a number.")
    return float(value)


def _pixels(path: Path, values: Mapping[str, Any], name: str) -> int:
    value = _number(path, values, name)
    if not 1 <= value <= LARGEST_SIDE:
        raise InputError(f"{path}: {name} is {values[name]!r}; expected 1 to {LARGEST_SIDE} pixels.")
    return int(value)


def _world_to_camera(path: Path, name: str, frame: Mapping[str, Any]) -> Float[np.ndarray, "4 4"]:
    try:
        camera_to_world = np.array(frame["transform_matrix"], np.float64)
        if camera_to_world.shape == (3, 4):
            camera_to_world = np.vstack([camera_to_world, [0, 0, 0, 1]])
        rotation, center = camera_to_world[:3, :3], camera_to_world[:3, 3]
        error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    except (KeyError, TypeError, ValueError, IndexError):
        raise InputError(f"{path}: frame {name} has no 4x4 transform_matrix.") from None
    if camera_to_world.shape != (4, 4) or not error < 1e-3 or np.linalg.det(rotation) < 0:
        raise InputError(f"{path}: transform_matrix of {name} is not a rotation and a translation:\n{camera_to_world}")
    pose = np.eye(4)
    pose[:3, :3] = (rotation * [1, -1, -1]).T  # OpenGL to OpenCV: flip the y and z axes
    pose[:3, 3] = -pose[:3, :3] @ center
    return pose


def _refuse_distortion(
    root: Path,
    path: Path,
    values: Mapping[str, Any],
    focal: tuple[float, float],
    center: tuple[float, float],
    size: tuple[int, int],
    ignore: bool,
) -> None:
    found = {name: values[name] for name in _DISTORTION if values.get(name)}
    model = values.get("camera_model", "OPENCV")
    if not found and model in _PINHOLES:
        return
    shift = math.inf
    if model in _PINHOLES and found.keys() <= {"k1", "k2", "p1", "p2"} and min(focal) > 0:
        k1, k2, p1, p2 = (_number(path, values, name) if name in found else 0.0 for name in ("k1", "k2", "p1", "p2"))
        shift = largest_shift(focal, center, size, (k1, k2), (p1, p2))
    if shift < NEGLIGIBLE or (ignore and math.isfinite(shift)):
        return
    text = ", ".join(f"{k}={v}" for k, v in found.items()) or "a lens that is no pinhole"
    target = root.resolve().with_name(root.resolve().name + "_undistorted")
    raise InputError(
        f"{path}: the photographs are distorted (camera model {model}: {text}); expected pinhole cameras"
        + (f", or a lens that moves no pixel by {NEGLIGIBLE} (it is {shift:.1f})" if math.isfinite(shift) else "")
        + f".\nMake an undistorted scene: python convert.py -s {root / 'images'} -o {target}"
        + ("\nor take them for pinholes, as LangSplat does: train.py --ignore_distortion" if math.isfinite(shift) else "")
    )
