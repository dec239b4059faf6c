"""Ground truth of the two benchmarks, read from their published folders and matched to views by image name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from evaluation.overlap import localized
from scene.camera import FARTHEST, LARGEST_SIDE
from workspace import InputError, read_json
from workspace.image_reader import open_picture

_FILLED = 1 << 15  # polygons are clipped to +- this many pixels; OpenCV visits every row of an outline, even outside the picture


@dataclass(frozen=True)
class LabelObject:
    """One outlined object, in pixels of the labelled picture."""

    polygons: tuple[Float[np.ndarray, "k 2"], ...]
    box: Float[np.ndarray, "4"]
    """x1, y1, x2, y2, inclusive."""


@dataclass(frozen=True)
class OutlinedFrame:
    """LERF-OVS labels of one picture: outlines by category, with all objects of a category together."""

    name: str
    width: int
    height: int
    categories: Mapping[str, Sequence[LabelObject]]

    @property
    def phrases(self) -> tuple[str, ...]:
        """Categories in the order of first appearance."""
        return tuple(self.categories)

    def hit(self, category: str, points: Int[Tensor, "k 2"], width: int, height: int) -> bool:
        """Whether any of the points lies in any of the category's boxes."""
        return localized(points, torch.from_numpy(self.boxes(category, width, height)).to(points.device))

    def mask(self, category: str, width: int, height: int) -> Bool[np.ndarray, "h w"]:
        """Union of the category's outlines at the requested size. Outlines may extend beyond the picture."""
        filled = np.zeros((height, width), np.uint8)
        for item in self.categories[category]:
            for polygon in item.polygons:
                if (width, height) == (self.width, self.height):
                    points = _clipped(polygon).astype(np.int32)  # the published evaluator truncates
                else:
                    points = np.rint(_clipped(self._scaled(polygon, width, height))).astype(np.int32)
                if len(points):
                    cv2.fillPoly(filled, [points], 1)
        return filled.astype(bool)

    def boxes(self, category: str, width: int, height: int) -> Float[np.ndarray, "b 4"]:
        """Boxes (x1, y1, x2, y2) of the category's objects at the requested size."""
        corners = np.stack([item.box for item in self.categories[category]]).reshape(-1, 2)
        return self._scaled(corners, width, height).reshape(-1, 4)

    def _scaled(self, points: Float[np.ndarray, "k 2"], width: int, height: int) -> Float[np.ndarray, "k 2"]:
        """Pixel indices denote pixel centres, so half a pixel is added before scaling and subtracted after."""
        return (points + 0.5) * np.array([width / self.width, height / self.height]) - 0.5


def read_lerf_ovs(folder: Path) -> list[OutlinedFrame]:
    """Read every `<name>.json` below a LERF-OVS label folder, sorted by name.

    Frames without objects are skipped.

    Raises:
        InputError: the folder is missing or holds no labels, or a file violates the format; the message says how.
    """
    files = sorted(path for path in folder.rglob("*.json") if not path.name.startswith(".")) if folder.is_dir() else []
    if not files:
        raise InputError(
            f"No LERF-OVS labels in {folder}; expected <image name>.json files (lerf_ovs/label/<scene>/frame_00041.json). "
            "Give that folder with --labels."
        )
    frames = [_outlined_frame(path, path.relative_to(folder).with_suffix("").as_posix()) for path in files]
    return [frame for frame in frames if frame.categories]


def _outlined_frame(path: Path, name: str) -> OutlinedFrame:
    content = read_json(path)
    try:
        width, height = (_side(content["info"], name) for name in ("width", "height"))
        categories: dict[str, list[LabelObject]] = {}
        for item in content["objects"]:
            polygons = _polygons(item["segmentation"])
            box = np.asarray(item["bbox"], np.float64) if "bbox" in item else _bounds(polygons)
            category = item["category"].strip()
            if box.shape != (4,) or not polygons or not all(map(len, polygons)) or not category:
                raise ValueError("a box without four numbers, or an object without an outline or a name")
            if not all((np.abs(numbers) <= FARTHEST).all() for numbers in (box, *polygons)):  # also rejects NaN
                raise ValueError(f"a point of {category!r} is further than {FARTHEST:g} pixels")
            if box[0] > box[2] or box[1] > box[3]:
                raise ValueError(f"{category!r} has the reversed box {box.tolist()}")
            categories.setdefault(category, []).append(LabelObject(polygons, box))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not a LERF-OVS label file ({type(error).__name__}: {error}). Expected info: {{width, height}}, "
            "objects: [{category, segmentation: [[x, y], ...], bbox: [x1, y1, x2, y2]}]."
        ) from error
    return OutlinedFrame(name, width, height, categories)


def _side(info: Mapping[str, Any], name: str) -> int:
    value = info[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or not 1 <= value <= LARGEST_SIDE:
        raise ValueError(f"{name} {value!r}; expected 1 to {LARGEST_SIDE} pixels")
    return int(value)


def _clipped(polygon: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "m 2"]:
    """The polygon clipped to a square far larger than any picture (Sutherland and Hodgman 1974); unchanged when inside."""
    for axis in (0, 1):
        for sign in (1.0, -1.0):
            outside = sign * polygon[:, axis] > _FILLED
            if not outside.any():
                continue
            cut = []
            for i in range(len(polygon)):
                before, point = polygon[i - 1], polygon[i]
                if outside[i] != outside[i - 1]:
                    share = (sign * _FILLED - before[axis]) / (point[axis] - before[axis])
                    cut.append(before + share * (point - before))
                if not outside[i]:
                    cut.append(point)
            polygon = np.array(cut).reshape(-1, 2)
    return polygon


def _polygons(segmentation: Any) -> tuple[Float[np.ndarray, "k 2"], ...]:
    """One outline [[x, y], ...], as LERF-OVS writes it, or a list of such outlines."""
    nested = segmentation and isinstance(segmentation[0][0], list)
    return tuple(np.asarray(points, np.float64).reshape(-1, 2) for points in (segmentation if nested else [segmentation]))


def _bounds(polygons: tuple[Float[np.ndarray, "k 2"], ...]) -> Float[np.ndarray, "4"]:
    points = np.concatenate(polygons)
    return np.concatenate([points.min(0), points.max(0)])


def read_grey(path: Path) -> UInt8[np.ndarray, "h w"]:
    """Grey values of a mask file, 0..255; transparency is ignored. InputError when the file is not a readable picture."""
    with open_picture(path) as image:
        if image.mode.startswith("I"):
            return (np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)
        if image.mode in ("1", "L", "LA"):
            return np.array(image.convert("L"))
        colors = np.asarray(image.convert("RGB"))
    return cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY)


@dataclass(frozen=True)
class PaintedFrame:
    """Labels of one picture: one mask file per class that occurs in it."""

    name: str
    files: Mapping[str, Path]
    background: int = 127
    """Largest grey value that counts as background."""

    @property
    def phrases(self) -> tuple[str, ...]:
        """Classes that have a mask."""
        return tuple(self.files)

    def hit(self, category: str, points: Int[Tensor, "k 2"], width: int, height: int) -> bool:
        """Whether any of the points lies in the class's mask."""
        x, y = points.cpu().numpy().T
        return bool(self.mask(category, width, height)[y, x].any())

    def mask(self, category: str, width: int, height: int) -> Bool[np.ndarray, "h w"]:
        """The class's mask, resized to the requested size by nearest neighbour."""
        painted = read_grey(self.files[category])
        return cv2.resize(painted, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > self.background


Truth: TypeAlias = OutlinedFrame | PaintedFrame


def read_3d_ovs(folder: Path) -> tuple[list[str], list[PaintedFrame]]:
    """Read a 3D-OVS `segmentations` folder: the classes, and the frames sorted by name.

    Raises:
        InputError: no `classes.txt`, no mask, or a mask of a class that `classes.txt` does not name.
    """
    listing = folder / "classes.txt"
    if not listing.is_file():
        raise InputError(f"No {listing}; expected a 3D-OVS segmentations folder: classes.txt and <image name>/<class>.png.")
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{listing} is not UTF-8 ({error}). Save it again with that encoding.") from None
    classes = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    frames, unknown = [], []
    for directory in sorted({path.parent for path in folder.rglob("*.png") if path.parent != folder}):
        files = {path.stem.strip(): path for path in sorted(directory.glob("*.png"))}
        unknown += [str(path) for name, path in files.items() if name not in classes]
        frames.append(PaintedFrame(directory.relative_to(folder).as_posix(), files))
    if unknown:
        raise InputError(f"Masks of classes that {listing} does not name: {', '.join(unknown)}. It names: {', '.join(classes)}.")
    if not frames:
        raise InputError(f"No masks in {folder}; expected <image name>/<class>.png beside classes.txt.")
    return classes, frames
