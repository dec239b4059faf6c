"""COLMAP models: `cameras`, `images` and `points3D` in binary or text.

Parsed here rather than through pycolmap: training needs only three small tables of a model, these formats have not changed
since COLMAP 3, and a machine that only trains should not need structure-from-motion software.
Format: https://colmap.github.io/format.html. The rigs and frames that COLMAP 4 adds repeat these poses and are not needed.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from scene.camera import LARGEST_SIDE
from scene.lens import largest_shift
from workspace import InputError

# COLMAP's camera models in the order of their binary ids, with their numbers of parameters.
_MODELS = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    ("SIMPLE_DIVISION", 4),
    ("DIVISION", 5),
    ("SIMPLE_FISHEYE", 3),
    ("FISHEYE", 4),
    ("EUCM", 6),
    ("EQUIRECTANGULAR", 2),
)


@dataclass(frozen=True)
class ColmapCamera:
    """Intrinsics as stored: `params` in pixels, in the order of the camera model."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def pinhole(self) -> tuple[float, float, float, float] | None:
        """(fx, fy, cx, cy), ignoring distortion; None if the model is not perspective."""
        if self.model in ("PINHOLE", "OPENCV"):
            return self.params[:4]
        if self.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
            focal, cx, cy = self.params[:3]
            return focal, focal, cx, cy
        return None

    def largest_shift(self) -> float:
        """Maximum displacement of a pixel by the lens distortion, in pixels; infinite if the model is not perspective."""
        pinhole = self.pinhole()
        if pinhole is None:
            return math.inf
        if self.model in ("PINHOLE", "SIMPLE_PINHOLE"):
            return 0.0
        first = 4 if self.model == "OPENCV" else 3
        k1, k2, p1, p2 = (*self.params[first:], 0.0, 0.0, 0.0, 0.0)[:4]
        return largest_shift(pinhole[:2], pinhole[2:], (self.width, self.height), (k1, k2), (p1, p2))


@dataclass(frozen=True)
class ColmapImage:
    """A registered photograph: file name relative to the image folder, camera and pose."""

    name: str
    camera_id: int
    world_to_camera: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class ColmapModel:
    """The parts of a COLMAP model that training needs."""

    cameras: dict[int, ColmapCamera]
    images: list[ColmapImage]
    xyz: Float32[np.ndarray, "k 3"]
    rgb: UInt8[np.ndarray, "k 3"]


def read_model(folder: Path) -> ColmapModel:
    """Read the model in `folder`; binary is preferred when both formats exist.

    Raises:
        InputError: a file is missing, truncated or not of this format, or an image refers to a missing camera.
    """
    forms = {suffix: readers for suffix, readers in _FORMS.items() if (folder / f"cameras{suffix}").is_file()}
    if not forms:
        raise InputError(f"No cameras.bin or cameras.txt in {folder}.")
    suffix, readers = next(iter(forms.items()))
    tables = []
    for name, reader in readers.items():
        path = folder / f"{name}{suffix}"
        try:
            tables.append(reader(path))
        except FileNotFoundError:
            raise InputError(
                f"{folder} has cameras{suffix} but no {name}{suffix}; a COLMAP model is cameras, images and points3D in one form."
            ) from None
        except (struct.error, ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
            raise InputError(
                f"{path} is cut short or not a COLMAP model ({error}). Copy it again, or export the model again."
            ) from None
    cameras, images, (xyz, rgb) = tables
    for image in images:
        if image.camera_id not in cameras:
            raise InputError(
                f"{folder}: image {image.name} refers to camera {image.camera_id}, which cameras{suffix} does not hold."
            )
    return ColmapModel(cameras, images, xyz, rgb)


def _pose(quat: tuple[float, ...], translation: tuple[float, ...]) -> Float[np.ndarray, "4 4"]:
    """World-to-camera matrix of a wxyz quaternion and a translation."""
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(quat)
    if not 0 < norm < np.inf:
        raise ValueError(f"rotation quaternion {quat}")
    w, x, y, z = np.asarray(quat) / norm
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return pose


def _camera(model: str, width: int, height: int, params: tuple[float, ...]) -> ColmapCamera:
    expected = dict(_MODELS).get(model)
    if expected is not None and expected != len(params):
        raise ValueError(f"camera model {model} with {len(params)} parameters instead of {expected}")
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise ValueError(f"a camera of {width}x{height} pixels")
    return ColmapCamera(model, width, height, params)


def _cameras_binary(path: Path) -> dict[int, ColmapCamera]:
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    offset, cameras = 8, {}
    for _ in range(count):
        camera_id, model_id, width, height = struct.unpack_from("<IiQQ", data, offset)
        if not 0 <= model_id < len(_MODELS):
            raise ValueError(f"unknown camera model {model_id}")
        model, size = _MODELS[model_id]
        cameras[camera_id] = _camera(model, width, height, struct.unpack_from(f"<{size}d", data, offset + 24))
        offset += 24 + 8 * size
    return cameras


def _images_binary(path: Path) -> list[ColmapImage]:
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    offset, images = 8, []
    for _ in range(count):
        _, *pose, camera_id = struct.unpack_from("<I7dI", data, offset)
        end = data.index(b"\0", offset + 64)
        name = data[offset + 64 : end].decode()
        (points,) = struct.unpack_from("<Q", data, end + 1)
        offset = end + 9 + 24 * points  # keypoints: x, y, id of the 3D point
        if offset > len(data):
            raise ValueError(f"ends inside image {name}")
        images.append(ColmapImage(name, camera_id, _pose(tuple(pose[:4]), tuple(pose[4:]))))
    return images


def _points_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    if 8 + 51 * count > len(data):
        raise ValueError(f"{count} points do not fit in {len(data)} bytes")
    starts, offset = np.empty(count, np.int64), 8
    for i in range(count):
        starts[i] = offset
        (track,) = struct.unpack_from("<Q", data, offset + 43)
        if 51 + 8 * track > len(data) - offset:
            raise ValueError(f"point {i} is seen {track} times, which does not fit in {len(data)} bytes")
        offset += 51 + 8 * track
    records = np.frombuffer(data, np.uint8)[starts[:, None] + np.arange(8, 35)]  # skip the id: xyz 3 doubles, rgb 3 bytes
    with np.errstate(over="ignore"):
        return records[:, :24].copy().view("<f8").astype(np.float32), records[:, 24:].copy()


def _lines(path: Path) -> Iterator[str]:
    """Lines without comments. Empty lines are kept: an image without keypoints has an empty keypoint line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                yield line.rstrip("\r\n")


def _cameras_text(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for line in filter(str.strip, _lines(path)):
        camera_id, model, width, height, *params = line.split()
        cameras[int(camera_id)] = _camera(model, int(width), int(height), tuple(map(float, params)))
    return cameras


def _images_text(path: Path) -> list[ColmapImage]:
    images, lines = [], _lines(path)
    for line in lines:
        if not line.strip():
            continue
        fields = line.split(maxsplit=9)  # the name is the rest of the line, spaces included
        pose = tuple(map(float, fields[1:8]))
        images.append(ColmapImage(fields[9].strip(), int(fields[8]), _pose(pose[:4], pose[4:])))
        next(lines, None)  # skip its keypoint line
    return images


def _points_text(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = [line.split(maxsplit=7)[1:7] for line in _lines(path) if line.strip()]
    table = np.array(rows, np.float64).reshape(-1, 6)
    if not ((table[:, 3:] >= 0) & (table[:, 3:] <= 255)).all():
        raise ValueError("a colour is outside 0 to 255")
    with np.errstate(over="ignore"):
        return table[:, :3].astype(np.float32), table[:, 3:].astype(np.uint8)


_FORMS = {
    ".bin": {"cameras": _cameras_binary, "images": _images_binary, "points3D": _points_binary},
    ".txt": {"cameras": _cameras_text, "images": _images_text, "points3D": _points_text},
}
