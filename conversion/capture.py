"""Input of `convert.py`, a folder of photographs or a video, prepared for structure from motion."""

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from conversion.video_frames import JPEG_QUALITY
from scene.photographs import check_photographs, flatten, sizes_text
from workspace import IMAGE_SUFFIXES, InputError, atomic, image_files
from workspace.image_reader import ORIENTATION, exif_bytes, exif_entry, open_picture, upright

log = logging.getLogger(__name__)

_EXIF, _MAKE, _MODEL, _FOCAL, _FOCAL_35 = 0x8769, 0x010F, 0x0110, 0x920A, 0xA405  # EXIF tags
_PLAIN_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Photograph:
    """One photograph on disk: path below its folder, upright size, lens, and whether it is used unchanged."""

    name: str
    size: tuple[int, int]
    lens: tuple[str, ...]
    plain: bool


def find_capture(source: Path) -> tuple[Path, list[str]]:
    """Folder of the photographs (`images` or `input` inside `source`, else `source`) and their sorted names below it.

    Raises:
        InputError: there are fewer than three, two share a key, or some cannot be read (all are listed).
    """
    for inner in ("images", "input"):
        if (source / inner).is_dir():
            log.info("Photographs are taken from %s.", source / inner)
            source = source / inner
            break
    files = image_files(source)
    visible = (path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    others = Counter(path.suffix.lower() or "no extension" for path in visible if path.suffix.lower() not in IMAGE_SUFFIXES)
    passed_over = ", ".join(f"{count} {suffix}" for suffix, count in others.items())
    if len(files) < 3:
        heic = " HEIC photographs can be converted with: magick mogrify -format jpg *.heic" if ".heic" in others else ""
        raise InputError(
            f"{source} holds {len(files)} photographs ({', '.join(IMAGE_SUFFIXES)}); a scene needs at least 3, better 30 or more."
            + (f" Passed over: {passed_over}.{heic}" if others else "")
        )
    if others:
        log.info("Passed over in %s: %s.", source, passed_over)
    check_photographs(list(files.values()))
    return source, [path.relative_to(source).as_posix() for path in files.values()]


def inspect(folder: Path, names: Sequence[str]) -> list[Photograph]:
    """Read size, lens and format of the photographs `names` below `folder` from their headers."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: _inspect(folder, name), names))


def _inspect(folder: Path, name: str) -> Photograph:
    with open_picture(folder / name) as image:
        orientation = exif_entry(image, ORIENTATION)
        values = [exif_entry(image, tag) for tag in (_MAKE, _MODEL)]
        values += [exif_entry(image, tag, _EXIF) for tag in (_FOCAL, _FOCAL_35)]
        size = image.size if orientation not in (5, 6, 7, 8) else image.size[::-1]
        plain = orientation in (None, 0, 1) and image.mode in ("RGB", "L") and Path(name).suffix.lower() in _PLAIN_SUFFIXES
    return Photograph(name, size, tuple("" if value is None else str(value).strip("\0 ") for value in values), plain)


def make_upright(folder: Path, photographs: Sequence[Photograph], target: Path) -> list[str]:
    """Write the photographs to `target` as upright 8-bit RGB files and return their names there.

    COLMAP ignores the EXIF orientation. Photographs that need no change are linked; the rest are written once and
    keep their EXIF data, whose focal length initialises structure from motion.
    """
    names = []
    for photograph in tqdm(photographs, desc="upright", unit="image"):
        source, relative = folder / photograph.name, Path(photograph.name)
        if relative.suffix.lower() not in _PLAIN_SUFFIXES:
            relative = relative.with_suffix(".png")
        names.append(relative.as_posix())
        path = target / relative
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if photograph.plain:
            _link(source, path)
            continue
        with open_picture(source) as image:
            turned = upright(image)
            pixels, exif = flatten(turned), exif_bytes(turned)
        with atomic(path) as temporary:
            pixels.save(temporary, quality=JPEG_QUALITY, subsampling=0, exif=exif)
    return names


def _link(source: Path, path: Path) -> None:
    try:
        path.symlink_to(source.resolve())
    except OSError:  # Windows without the privilege to create links
        shutil.copy2(source, path)


def camera_groups(
    photographs: Sequence[Photograph], camera: Literal["auto", "single", "per_folder", "per_image"]
) -> list[list[int]]:
    """Groups of indices of the photographs that share one camera.

    `auto` groups photographs of the same size, EXIF camera model and EXIF focal length: usually one camera, more when a phone
    was rotated or zoomed.

    Raises:
        InputError: photographs that should share a camera have different sizes.
    """
    keys = {
        "auto": lambda p: (p.size, p.lens),
        "single": lambda p: (),
        "per_folder": lambda p: Path(p.name).parent,
        "per_image": lambda p: p.name,
    }
    groups: dict[object, list[int]] = {}
    for i, photograph in enumerate(photographs):
        groups.setdefault(keys[camera](photograph), []).append(i)
    for members in groups.values():
        sizes = {photographs[i].size for i in members}
        if len(sizes) > 1:
            raise InputError(f"Photographs of sizes {sizes_text(sizes)} cannot share one camera; use --camera auto.")
    return list(groups.values())
