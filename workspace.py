"""Every path, file name, format version and stage record of the pipeline; nothing else builds a path.

A scene folder holds the user's data and the features computed from it; a model folder holds everything that is learned.
Files inside them are keyed by image name: the path below `images/` without its extension, so `images/left/a.b.JPG` is
`left/a.b`. A stage folder carries `stage.json`, written first as incomplete and completed last, so that a killed stage is
resumed and never mistaken for a finished one.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ASSETS = Path(__file__).parent / "assets"  # weights and worlds that ship with the code
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
RECORD = "stage.json"
SHOWN = 12  # differences listed in a message
_DIGEST = re.compile("[0-9a-f]{16,64}")  # nobody can compare these by eye
FORMATS = {  # stage name -> version of its files; a changed file format bumps it and gets a line in CHANGELOG.md
    "features": 1,
    "autoencoder": 1,
    "rgb": 1,
    "language": 1,
    "render": 1,
    "eval": 1,
    "convert": 1,
}


class InputError(Exception):
    """The user's input is wrong. The message says what, what was found, what was expected, and the command that fixes it."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it replaces `path` only when the block succeeds.

    The temporary name keeps the suffix, which writers such as OpenCV choose the format by, and is hidden, so that no
    listing of finished files includes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all. Non-finite numbers are refused: they are not JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a file that is missing or is not JSON raises InputError naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from None


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy, whole or not at all."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        try:
            np.save(file, array, allow_pickle=False)
        except OSError as error:
            if error.errno is not None:
                raise
            # numpy counts the bytes that were not written, and does not say that the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def load_array(path: Path) -> np.ndarray:
    """Read one .npy array without unpickling; a missing or truncated file raises InputError naming it."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path} is not a readable .npy array ({error}). Delete it and rerun the stage that writes it."
        ) from None


def image_key(relative: Path | str) -> str:
    """Key of an image from its path below `images/`: that path without its extension, with forward slashes."""
    relative = Path(relative)
    return relative.with_name(relative.stem if relative.suffix.lower() in IMAGE_SUFFIXES else relative.name).as_posix()


def image_files(folder: Path) -> dict[str, Path]:
    """Photographs below `folder` by key, sorted by path; hidden ones are passed over. InputError when two share a key."""
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
        """Exact part of every pixel of a generated scene: 8-bit `<key>.png`, and `parts.json` that names them."""
        return self.root / "part_ids"

    def mask(self, key: str, phrase: str) -> Path:
        """Exact mask (0 or 255) of what a phrase names in one image of a generated scene."""
        return self.root / "masks" / key / f"{phrase}.png"

    def segment_embeddings(self, key: str) -> Path:
        """float32 [m, d] unit rows, the segments of all levels in the order default, s, m, l."""
        return self.language_features / f"{key}_f.npy"

    def segment_maps(self, key: str) -> Path:
        """int32 [4, h, w] indices into the rows of `segment_embeddings`; -1 where there is no segment."""
        return self.language_features / f"{key}_s.npy"

    def patch_grid(self, key: str) -> Path:
        """float16 [h, w, d] patch tokens at the image's own aspect."""
        return self.dino_features / f"{key}.npy"

    def foreign_patch_grid(self, key: str) -> Path:
        """DinoSplat's own file: array `arr_0` [d, h, w] in an .npz."""
        return self.dino_features / f"{key}.npz"

    def extraction_log(self, folder: Path, shard: tuple[int, int] = (1, 1)) -> Path:
        """One JSON line per image: seconds in each part of the extraction. Each shard has its own."""
        return folder / ("metrics.jsonl" if shard[1] == 1 else f"metrics.{shard[0]}of{shard[1]}.jsonl")

    def extraction_logs(self, folder: Path) -> list[Path]:
        """The logs of all shards."""
        return sorted(folder.glob("metrics*.jsonl"))

    def image_files(self) -> dict[str, Path]:
        """Photographs by key, sorted by path. Hidden files are passed over. Raises InputError when there are none, or
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
        """Working files of convert.py: upright photographs or video frames, database, models, log. May be deleted after."""
        return self.root / "convert"


@dataclass(frozen=True)
class ModelFolder:
    """Everything that is learned or computed for one scene (`-m`, by default `output/<scene>`)."""

    root: Path

    @classmethod
    def of(cls, source_path: Path | None, model_path: Path | None) -> "ModelFolder":
        """The folder `-m` names, or the default one of the scene."""
        if model_path is not None:
            return cls(Path(model_path))
        if source_path is None:
            raise InputError("Neither a model folder (-m) nor a scene folder (-s) was given.")
        return cls(Path("output") / Path(source_path).resolve().name)

    @property
    def point_clouds(self) -> Path:
        """Stage folder of the RGB Gaussians."""
        return self.root / "point_cloud"

    def point_cloud(self, iteration: int) -> Path:
        """Gaussians in the 3DGS layout."""
        return self.point_clouds / f"iteration_{iteration}" / "point_cloud.ply"

    def found_iteration(self, iteration: int) -> int:
        """`iteration`, or with -1 the largest one with Gaussians on disk; InputError when there are none of it."""
        names = [path.parent.name.removeprefix("iteration_") for path in self.point_clouds.glob("iteration_*/point_cloud.ply")]
        found = sorted(int(name) for name in names if name.isdigit())
        if not found:
            raise InputError(f"No trained Gaussians in {self.point_clouds}. Run: python train.py -s <scene> -m {self.root}")
        if iteration != -1 and iteration not in found:
            raise InputError(
                f"{self.point_clouds} holds no Gaussians of iteration {iteration}; it has those of {', '.join(map(str, found))}."
            )
        return found[-1] if iteration == -1 else iteration

    @property
    def rgb_metrics(self) -> Path:
        """How well the RGB Gaussians reproduce photographs, per view."""
        return self.point_clouds / "metrics.json"

    @property
    def tensorboard(self) -> Path:
        """Training curves."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Resumable training states."""
        return self.root / "checkpoints"

    def checkpoint(self, stage: str, iteration: int) -> Path:
        """Training state of stage `rgb` or `language` after `iteration` iterations."""
        return self.checkpoints / f"{stage}_{iteration:06d}.pth"

    @property
    def autoencoder(self) -> Path:
        """Stage folder of the compressor."""
        return self.root / "autoencoder"

    @property
    def compressor(self) -> Path:
        """Weights of the autoencoder or the PCA basis."""
        return self.autoencoder / "compressor.pth"

    def codes(self, key: str) -> Path:
        """Codes of one image: float32 [m, c] for segments, float16 [h, w, c] for a patch grid."""
        return self.autoencoder / "codes" / f"{key}.npy"

    @property
    def language(self) -> Path:
        """Stage folder of the language field."""
        return self.root / "language"

    def level_codes(self, level: str) -> Path:
        """Codes of the Gaussians at one level (default, s, m, l, grid): float32 [n, c]."""
        return self.language / f"{level}.npy"

    def renders(self, split: str, kind: str) -> Path:
        """Folder of rendered pictures or maps, keyed by image name inside."""
        return self.root / "renders" / split / kind

    @property
    def code_colors(self) -> Path:
        """The one basis by which codes of this model are shown as colours."""
        return self.root / "renders" / "code_colors.json"

    @property
    def evaluation(self) -> Path:
        """Stage folder of queries and benchmarks."""
        return self.root / "eval"

    @property
    def metrics(self) -> Path:
        """Summary and per-query rows of the last evaluation."""
        return self.evaluation / "metrics.json"

    @property
    def report(self) -> Path:
        """Self-contained page of the last evaluation."""
        return self.evaluation / "report.html"

    @property
    def runs(self) -> Path:
        """Mean and spread of the last evaluation over several model folders, kept with the first of them."""
        return self.evaluation / "runs.json"

    def answer_picture(self, key: str, name: str) -> Path:
        """Picture of one answer in one view; `name` is the phrase as a file name."""
        return self.evaluation / key / f"{name}.png"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        a, b = old.get(name), new.get(name)
        if all(isinstance(value, Mapping | None) for value in (a, b)):
            lines += _differences(a or {}, b or {}, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"  {prefix}{name}: {_change(a, b)}")
    return lines


def _change(a: Any, b: Any) -> str:
    if not all(value is None or (isinstance(value, str) and _DIGEST.fullmatch(value)) for value in (a, b)):
        return f"{a!r} on disk, {b!r} now"
    return "not there before" if a is None else "gone" if b is None else "another one now"


@contextmanager
def stage(
    folder: Path, name: str, config: Mapping[str, Any], inputs: Mapping[str, Any], overwrite: bool = False
) -> Iterator[dict[str, Any]]:
    """Run one stage over `folder`: resume what is there when the record agrees, refuse when it does not.

    `config` holds the settings that change the result (not the device, not the shard), `inputs` what the stage read, by
    name. The record is yielded; a block that adds to it (`record["report"] = ...`) has that written with the completion.
    A block that ends with an exception leaves the stage incomplete. A block that has not finished every item sets
    `record["complete"] = False`.

    Raises:
        InputError: the folder holds another configuration or files without a record, and `overwrite` is false.
    """
    record = {"stage": name, "format": FORMATS[name], "config": dict(config), "inputs": dict(inputs)}
    record = json.loads(json.dumps(record))  # tuples and paths compare as they will be read back
    path = folder / RECORD
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    resumed = path.exists()
    if resumed:
        found = read_record(folder, "Add --overwrite to replace the folder.")
        different = _differences({k: found.get(k) for k in record}, record)
        if different:
            inputs_only = all(line.startswith("  inputs.") for line in different)
            more = [f"  and {len(different) - SHOWN} more"] if len(different) > SHOWN else []
            raise InputError(
                f"{folder} was made {'from other inputs' if inputs_only else 'with other settings'}:\n"
                + "\n".join(different[:SHOWN] + more)
                + f"\n{'Put the old ones back' if inputs_only else 'Repeat the old ones'}, or add --overwrite to replace it."
            )
        record = {**found, **record}
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files but no {RECORD}, so their settings are unknown. "
            "Move it away, or add --overwrite to replace it."
        )
    write_json(path, {**record, "complete": False})
    record["complete"] = True
    try:
        yield record
    except InputError:
        if not resumed and [entry.name for entry in folder.iterdir()] == [RECORD]:
            path.unlink()  # refused before anything was made: these settings have no claim on the folder
        raise
    write_json(path, record)


def read_record(folder: Path, remedy: str = "Add --overwrite to replace the folder.") -> dict[str, Any]:
    """The record of a stage folder, whether finished or not; InputError with the `remedy` when the file is damaged."""
    path = folder / RECORD
    try:
        record = read_json(path)
    except InputError as error:
        raise InputError(f"{error} It says with which settings {folder} was made. {remedy}") from None
    types = {"stage": str, "format": int, "config": dict, "inputs": dict}
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in types.items()):
        raise InputError(
            f"{path} is damaged: expected an object with stage, format, config and inputs, which say how {folder} was made. "
            + remedy
        )
    return record


def require(folder: Path, name: str, command: str) -> dict[str, Any]:
    """Record of a finished stage; InputError with the `command` that makes it when it is absent, old or incomplete."""
    path = folder / RECORD
    if not path.exists():
        raise InputError(f"Nothing in {folder}: the {name} stage has not run. Run: {command}")
    record = read_record(folder, f"Run: {command} --overwrite")
    if record.get("stage") != name or record.get("format") != FORMATS[name]:
        raise InputError(
            f"{path} is of stage {record.get('stage')!r} format {record.get('format')!r}; "
            f"expected {name!r} format {FORMATS[name]}. Run: {command} --overwrite"
        )
    if not record.get("complete"):
        raise InputError(f"The {name} stage in {folder} did not finish. Continue it with: {command}")
    return record
