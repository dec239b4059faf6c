"""Safe image reader: accepts only the listed formats, and limits the number of pixels by the file size."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from workspace.errors import InputError

Image.MAX_IMAGE_PIXELS = None  # replaced by the limit below, which depends on the size of the file

ORIENTATION = 0x0112  # EXIF tag
# By default Pillow detects the format from the content and would run Ghostscript on a .jpg that holds EPS.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
MOST_PIXELS = 64_000_000  # of any file; an RGB picture of this size takes 256 MB once decoded
MOST_PIXELS_PER_BYTE = 4  # limit above that; photographs have 1 to 4, so panoramas and scans of any size are accepted
# Exceptions that Pillow's decoders and its EXIF parser raise on damaged files.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    RuntimeError,
    AssertionError,
    struct.error,
    zlib.error,
)


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open an image: JPEG, PNG, BMP, TIFF or WebP, regardless of its extension. Pixels are decoded on first use.

    Decoder errors inside the block become InputError, so the block should only read pixels.

    Raises:
        InputError: `<path>: <reason>`; the file is missing, not such an image, truncated or damaged, or declares more pixels
            than both 64 million and four per byte of the file.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_oversized(path, image.size)
            yield image
    except UnidentifiedImageError:
        empty = path.is_file() and not path.stat().st_size
        raise InputError(f"{path}: {'the file is empty' if empty else 'it is no JPEG, PNG, BMP, TIFF or WebP image'}") from None
    except _DAMAGED as error:
        reason = f"{error}".replace(f"'{path}'", "the file") or type(error).__name__
        raise InputError(f"{path}: {reason.splitlines()[0][:300]}") from None


def exif_entry(image: Image.Image, tag: int, folder: int | None = None) -> Any:
    """One EXIF entry, or None if it is missing or damaged: no photograph is rejected for its EXIF data.

    Args:
        image: an open picture.
        tag: EXIF tag number.
        folder: tag number of the sub-IFD that holds `tag`; None for the main one.
    """
    try:
        exif = image.getexif()
        return (exif if folder is None else exif.get_ifd(folder)).get(tag)
    except _DAMAGED:
        return None


def exif_bytes(image: Image.Image) -> bytes:
    """All EXIF data, to be saved with another image; empty if missing or damaged."""
    try:
        return image.getexif().tobytes()
    except _DAMAGED:
        return b""


def upright(image: Image.Image) -> Image.Image:
    """The image rotated by its EXIF orientation; unchanged if the EXIF data is missing or damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGED:
        return image


def _refuse_oversized(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    stored = path.stat().st_size
    if width * height > max(MOST_PIXELS, MOST_PIXELS_PER_BYTE * stored):
        raise InputError(
            f"{path}: its header declares {width}x{height} pixels in {stored / 1e6:.1f} MB; expected at most "
            f"{MOST_PIXELS / 1e6:.0f} million, or {MOST_PIXELS_PER_BYTE} for each byte of the file"
        )
