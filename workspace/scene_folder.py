"""All paths and file names of a scene; `workspace.model_folder` has those of a model. No other module builds paths.

A scene folder holds the user's data and the features computed from it; a model folder holds everything that is learned.
Files inside them are keyed by image name: the path below `images/` without its extension, so `images/left/a.b.JPG` is
`left/a.b`.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from workspace.errors import InputError

ASSETS = Path(__file__).parent.parent / "assets"  # weights and worlds that ship with the code
LONGEST_PART, LONGEST_NAME = 255, 2000  # bytes of a file's name, characters of a path below images/
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def image_key(relative: Path | str) -> str:
    """Key of an image from its path below `images/`: that path without its extension, with forward slashes.

    Every result of an image is written under its key, so a name that points outside a folder would overwrite or delete
    files elsewhere. Only the text of a name is checked: links inside `images/` are the user's choice and are followed.

    Raises:
        InputError: the name is absolute, contains `..` or control characters, is empty, too long, or not UTF-8.
    """
    name = str(relative)
    parts = PureWindowsPath(name).parts  # splits at slashes and backslashes, and recognises drives
    reason = None
    if not parts or not Path(name).name:
        reason = "it is empty"
    elif PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        reason = "it is an absolute path"
    elif ".." in parts:
        reason = "it contains '..'"
    elif any(ord(character) < 32 for character in name):
        reason = "it contains control characters"
    elif any(0xD800 <= ord(character) < 0xE000 for character in name):  # bytes that Python could not decode
        reason = "its bytes are not UTF-8; rename the file (convmv -f latin1 -t utf8 --notest does it for a whole folder)"
    elif max(len(part.encode()) for part in parts) > LONGEST_PART or len(name) > LONGEST_NAME:
        reason = f"it, or a part of it, is longer than {LONGEST_PART} bytes, which no file system can hold"
    if reason:
        raise InputError(
            f"Image name {name[:120]!r}: {reason}. Expected a path relative to the folder of the photographs, such as "
            "left/0001.jpg. Copy the photographs into the scene folder, and correct the names in its camera file."
        )
    path = Path(name)
    return path.with_name(path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name).as_posix()


def inside(folder: Path, name: str) -> Path:
    """`folder / name` for an image key or a phrase; InputError if the path would be outside the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(f"{name!r} would lead out of {folder}; expected a name below it.")
    return folder / path


def image_files(folder: Path) -> dict[str, Path]:
    """Photographs below `folder` by key, sorted by path; hidden files are skipped. InputError when two share a key."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        relative = path.relative_to(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES or any(part.startswith(".") for part in relative.parts):
            continue
        key = image_key(relative)
        if key in files:
            raise InputError(f"{files[key]} and {path} differ only in their extension; rename one of them.")
        files[key] = path
    return files


@dataclass(frozen=True)
class SceneFolder:
    """The user's data (`-s`): photographs, cameras, and the feature folders the LangSplat family shares."""

    root: Path

    @property
    def name(self) -> str:
        """Name of the scene: of the folder as it was given, which may be a link, since benchmarks know their scenes by name."""
        return Path(os.path.abspath(self.root)).name  # noqa: PTH100 - resolve() would follow the link

    @property
    def images(self) -> Path:
        """Photographs; never modified."""
        return self.root / "images"

    @property
    def sparse(self) -> Path:
        """COLMAP model; never modified."""
        return self.root / "sparse" / "0"

    @property
    def language_features(self) -> Path:
        """Segment features: SAM + CLIP, or the bundled encoder."""
        return self.root / "language_features"

    @property
    def dino_features(self) -> Path:
        """Dense patch features."""
        return self.root / "dino_features"

    @property
    def labels(self) -> Path:
        """Ground truth in the LERF-OVS format: `<key>.json` beside `<key>.jpg`."""
        return self.root / "label"

    @property
    def part_ids(self) -> Path:
        """Exact part id of every pixel of a generated scene: 8-bit `<key>.png`, and `parts.json` with the names of the parts."""
        return self.root / "part_ids"

    def mask(self, key: str, phrase: str) -> Path:
        """Exact mask (0 or 255) of a phrase in one image of a generated scene."""
        return inside(self.root / "masks", f"{key}/{phrase}.png")

    def segment_embeddings(self, key: str) -> Path:
        """float32 [m, d] unit-length rows: the segments of all levels in the order default, s, m, l."""
        return inside(self.language_features, f"{key}_f.npy")

    def segment_maps(self, key: str) -> Path:
        """int32 [4, h, w] indices into the rows of `segment_embeddings`; -1 where there is no segment."""
        return inside(self.language_features, f"{key}_s.npy")

    def patch_grid(self, key: str) -> Path:
        """float16 [h, w, d] patch tokens at the image's aspect ratio."""
        return inside(self.dino_features, f"{key}.npy")

    def foreign_patch_grid(self, key: str) -> Path:
        """Patch tokens in DinoSplat's format: array `arr_0` [d, h, w] in an .npz."""
        return inside(self.dino_features, f"{key}.npz")

    def extraction_log(self, folder: Path, shard: tuple[int, int] = (1, 1)) -> Path:
        """One JSON line per image: seconds in each part of the extraction. Each shard writes a separate file."""
        return folder / ("metrics.jsonl" if shard[1] == 1 else f"metrics.{shard[0]}of{shard[1]}.jsonl")

    def extraction_logs(self, folder: Path) -> list[Path]:
        """The logs of all shards."""
        return sorted(folder.glob("metrics*.jsonl"))

    def image_files(self) -> dict[str, Path]:
        """Photographs by key, sorted by path. Hidden files are skipped. Raises InputError when there are none, or
        when two files share a key."""
        if not self.root.is_dir():
            raise InputError(f"No folder {self.root}.")
        files = image_files(self.images)
        if not files:
            raise InputError(
                f"No photographs in {self.images} (looked for {', '.join(IMAGE_SUFFIXES)}). A scene folder holds images/ and "
                f"sparse/0/; to make one: python convert.py -s <photographs or video> -o {self.root}"
            )
        return files

    @property
    def conversion(self) -> Path:
        """Working files of convert.py: upright photographs or video frames, database, models, log. May be deleted afterwards."""
        return self.root / "convert"
