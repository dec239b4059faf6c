"""Photographs on disk: look-up by name, checks before work starts, and loading one at a time."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from scene.camera import Camera
from workspace import InputError
from workspace.files import file_digest
from workspace.image_reader import ORIENTATION, exif_entry, open_picture, upright

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def find_photographs(folder: Path, names: Sequence[str]) -> list[Path]:
    """Paths of the photographs `names` (relative, with extension, case-sensitive) below `folder`.

    Raises:
        InputError: some are missing; all are listed, each with the file that differs only in case or extension, if any.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(describe_missing(folder, missing, len(names)))
    return [folder / name for name in names]


def describe_missing(folder: Path, missing: Sequence[str], total: int) -> str:
    """Message that lists the photographs missing below `folder`, one per line, each with any file of a similar name."""
    if not folder.is_dir():
        return f"No folder {folder}; the cameras refer to {total} photographs in it, for example {missing[0]}."
    present = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    near = {name.lower(): name for name in present} | {_stem(name): name for name in present}
    lines = []
    for name in missing:
        other = near.get(name.lower()) or near.get(_stem(name))
        lines.append(f"  {name}" + (f" (there is {other}: names must agree in case and extension)" if other else ""))
    return f"{len(missing)} of {total} photographs are missing in {folder}:\n" + "\n".join(lines)


def _stem(name: str) -> str:
    return Path(name).with_suffix("").as_posix().lower()


def check_photographs(paths: Sequence[Path]) -> list["PhotographFile"]:
    """Decode every photograph once, in parallel, and return its size, orientation and digest.

    JPEGs are decoded at an eighth of their size; this still reads the whole stream and so detects truncation.

    Raises:
        InputError: some cannot be decoded completely; all are listed with the reason.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(_check, paths))
    broken = [f"  {result}" for result in results if isinstance(result, InputError)]
    if broken:
        raise InputError(
            f"{len(broken)} of {len(paths)} photographs cannot be read:\n" + "\n".join(broken) + "\nReplace them, or remove them "
            "and make the cameras again with convert.py."
        )
    return [result for result in results if not isinstance(result, InputError)]


def check_photograph(path: Path) -> "PhotographFile":
    """Decode one photograph and return its size, orientation and digest; InputError if it cannot be read."""
    with open_picture(path) as image:
        size = image.size
        orientation = exif_entry(image, ORIENTATION)
        image.draft("RGB", (max(1, size[0] // 8), max(1, size[1] // 8)))
        image.load()
    return PhotographFile(*size, turned=orientation in _TURNED, digest=photograph_digest(path))


class PhotographFile(NamedTuple):
    """Stored size in pixels, whether the EXIF orientation swaps width and height, and the digest of the file."""

    width: int
    height: int
    turned: bool
    digest: str

    def seen_by(self, camera: tuple[int, int]) -> tuple[int, int] | None:
        """Photograph size that matches the size `camera` (width, height): as stored, else upright; None if neither matches.

        The stored size is tried first: COLMAP and 3DGS trainers ignore the EXIF orientation, and so do their cameras.
        """
        stored, upright = (self.width, self.height), (self.height, self.width)
        if fits(stored, camera):
            return stored
        return upright if self.turned and fits(upright, camera) else None


def photograph_digest(path: Path) -> str:
    """First 16 hex digits of the file's SHA-256: changes when a photograph is replaced, not when it is copied or touched."""
    return file_digest(path)[:16]


def _check(path: Path) -> PhotographFile | InputError:
    try:
        return check_photograph(path)
    except InputError as error:
        return error


def load_image(camera: Camera, background: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> UInt8[np.ndarray, "h w 3"]:
    """Photograph of `camera` as RGB at the camera's size; downsampled by area averaging.

    Transparent pixels are blended over `background` (RGB, 0..1). The EXIF orientation is applied when the camera's size
    requires it (see `PhotographFile.seen_by`).

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    if camera.image_path is None:
        raise ValueError(f"Camera '{camera.name}' has no photograph.")
    size = (camera.width, camera.height)
    with open_picture(camera.image_path) as image:
        pixels = _colors(image if fits(image.size, size) else upright(image))
    if pixels.size != size:
        # Deviates from 3DGS (Pillow's bicubic filter) and LangSplat's features (cv2's bilinear filter): both stages use the same
        # filter. BOX averages over each target pixel's footprint, including fractional borders; when enlarging it would repeat
        # pixels, so bicubic is used there.
        shrinks = size[0] <= pixels.width and size[1] <= pixels.height
        pixels = pixels.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC)
    array = np.asarray(pixels)
    if array.shape[2] == 3:
        return array.copy()
    colors, alpha = array[..., :3].astype(np.float32), array[..., 3:].astype(np.float32) / 255  # premultiplied
    return np.clip(colors + 255 * (1 - alpha) * np.float32(background) + 0.5, 0, 255).astype(np.uint8)


def _colors(image: Image.Image) -> Image.Image:
    """Decoded pixels as RGB, or as RGBa (premultiplied, so that resizing does not mix in the colours of transparent pixels)."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.array(image, np.float32)
        values *= 255 / 65535 if image.mode != "F" else 255.0  # in place: a scan can have a hundred million pixels
        values += 0.5
        return Image.fromarray(np.nan_to_num(values, copy=False).clip(0, 255, out=values).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return (image if image.mode == "RGBA" else image.convert("RGBA")).convert("RGBa")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def flatten(image: Image.Image) -> Image.Image:
    """Decoded pixels as 8-bit RGB; transparent pixels are blended over black."""
    colors = _colors(image)
    return colors if colors.mode == "RGB" else Image.fromarray(np.asarray(colors)[..., :3])


class PhotographCache:
    """Thread-safe `load_image` with a least-recently-used cache of at most `megabytes` (one photograph is always kept)."""

    def __init__(self, megabytes: float = 2048, background: tuple[float, float, float] = (0.0, 0.0, 0.0)):
        self._capacity = int(megabytes * 2**20)
        self._background = background
        self._images: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def load(self, camera: Camera) -> UInt8[np.ndarray, "h w 3"]:
        """Photograph of `camera` at its size. The array is shared and read-only."""
        key = (camera.image_path, camera.width, camera.height)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        image = load_image(camera, self._background)
        image.flags.writeable = False
        with self._lock:
            if key not in self._images:
                self._images[key] = image
                self._bytes += image.nbytes
            while self._bytes > self._capacity and len(self._images) > 1:
                self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image


def fits(size: tuple[int, int], camera: tuple[int, int]) -> bool:
    """Whether a photograph of `size` (width, height) has the camera's aspect ratio, up to the rounding of a resize."""
    # (s w + a) h - (s h + b) w with |a|, |b| < 1 is below h + w
    return abs(size[0] * camera[1] - size[1] * camera[0]) < camera[0] + camera[1]


def sizes_text(sizes: Iterable[tuple[int, int]]) -> str:
    """Sizes for a message: `800x533, 1600x1066`."""
    return ", ".join(f"{w}x{h}" for w, h in sorted(set(sizes)))


def names_text(names: Sequence[str], most: int = 5) -> str:
    """Names for a message, the first `most` of them: `a, b and 7 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
