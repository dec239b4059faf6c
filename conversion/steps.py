"""The steps of a conversion: capture, features, matches, models, verdict, undistorted photographs."""

import hashlib
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from conversion import sfm_steps
from conversion.capture import camera_groups, find_capture, inspect, make_upright
from conversion.child_process import ChildError, run_in_child
from conversion.model_summary import ModelSummary, summarize_models
from conversion.model_verdict import judge
from conversion.video_frames import extract_frames
from scene.photographs import check_photographs, find_photographs
from workspace import InputError, SceneFolder, atomic, read_typed, write_json
from workspace.owned_files import OwnedFiles, remove_abandoned
from workspace.record_types import ConvertReport
from workspace.stage_record import plain

log = logging.getLogger(__name__)

STEPS = "steps.json"
MANY_PHOTOGRAPHS = 300  # above this, matching all pairs takes hours on a laptop


@dataclass(frozen=True)
class StepState:
    """A step as the working folder records it."""

    key: str
    """Hash of the settings of this step and of those before it."""
    complete: bool = False


@dataclass(frozen=True)
class ConvertConfig:
    """Settings of `convert.py`."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Folder of photographs (subfolders included), or a video file."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Scene folder to make: images/ and sparse/0/, undistorted, plus working files in convert/."""
    matching: Literal["auto", "exhaustive", "sequential"] = "auto"
    """Which photographs are compared: all pairs, or neighbours in name order. auto: sequential for a video, and for more
    than 300 numbered photographs."""
    mapper: Literal["auto", "global", "incremental"] = "auto"
    """How poses are solved: global, all photographs at once, incremental, one by one. auto does both from the same matches
    and keeps the model that explains more of them: each bends some scenes that the other gets right."""
    camera: Literal["auto", "single", "per_folder", "per_image"] = "auto"
    """Which photographs share one camera. auto: those with the same size and, by their EXIF data, the same lens."""
    camera_model: Literal["OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "OPENCV_FISHEYE", "PINHOLE", "SIMPLE_PINHOLE"] = (
        "OPENCV"
    )
    """Lens model to fit. With PINHOLE and SIMPLE_PINHOLE (photographs already undistorted) the files are copied unchanged."""
    frames: int = 200
    """Frames to take from a video, the sharpest of equal stretches."""
    image_size: int = 1600
    """Longer side in pixels at which features are looked for; the scene keeps the full size."""
    num_features: int = 8192
    """Features per photograph at most."""
    distorted_model: Path | None = None
    """COLMAP model of these photographs (a folder like sparse/0) to undistort instead of making one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where features and matches are computed; the pycolmap of PyPI runs on the CPU."""
    num_threads: int = -1
    """Threads; -1 uses all cores."""
    overwrite: bool = False
    """Replace a scene made with other settings. Steps that the new settings do not touch are kept."""


class Conversion:
    """The steps of one conversion, each skipped if it has already finished with the same settings and input."""

    def __init__(self, config: ConvertConfig, scene: SceneFolder, inputs: dict[str, str]):
        self.config, self.scene, self.inputs = config, scene, inputs
        self.work = scene.conversion
        self.database, self.calibrated = self.work / "database.db", self.work / "calibrated.db"
        self.models, self.undistorted = self.work / "models", self.work / "undistorted"
        self.key = ""

    def run(self) -> ConvertReport:
        """Run all steps in order and return the verdict's report."""
        remove_abandoned(self.work)
        photographs, names, is_video = self._capture()
        if self.config.distorted_model is None:
            self._features(photographs, names)
            self._matches(names, is_video)
            self._map(photographs)
            folders = sorted(path.parent for path in self.models.glob("*/*/cameras.bin"))
            mappers, database = [folder.parent.name for folder in folders], self.calibrated
        else:
            folders, mappers, database = [self.config.distorted_model.resolve()], ["given"], None
            if not any((folders[0] / name).is_file() for name in ("cameras.bin", "cameras.txt")):
                raise InputError(f"No COLMAP model in {folders[0]}: neither cameras.bin nor cameras.txt.")
        models = self._child("verdict", summarize_models, folders, mappers, database) if folders else []
        if not models or len(models[0].poses) < 3:
            raise InputError(
                f"No model came out of {len(names)} photographs. They must overlap by more than half, be sharp, show still "
                f"things with texture, and be taken from different places. Log: {self.work / 'colmap.log'}"
            )
        find_photographs(photographs, list(models[0].poses))
        verdict = judge(models, names)
        self._undistort(verdict.model, photographs)
        return verdict.report()

    def _capture(self) -> tuple[Path, list[str], bool]:
        config, target = self.config, self.work / "photographs"
        video = config.source_path.is_file()
        with self._step("capture", {**self.inputs, "frames": config.frames if video else None}, target) as needed:
            if video:
                if needed:
                    extract_frames(config.source_path, target, config.frames)
                return target, sorted(path.name for path in target.iterdir()), True
            folder, names = find_capture(config.source_path)
            photographs = inspect(folder, names)
            if config.distorted_model is not None or all(photograph.plain for photograph in photographs):
                return folder, names, False  # a given model refers to the photographs as stored
            return target, make_upright(folder, photographs, target), False

    def _features(self, photographs: Path, names: list[str]) -> None:
        config = self.config
        groups = [[names[i] for i in group] for group in camera_groups(inspect(photographs, names), config.camera)]
        settings = {k: getattr(config, k) for k in ("camera", "camera_model", "image_size", "num_features")}
        with self._step("features", settings, self.database) as needed:
            if needed:
                self._child(
                    "features", sfm_steps.extract_features, self.database, photographs, groups, config.camera_model,
                    config.image_size, config.num_features, config.num_threads, config.device,
                    total=len(names), table="descriptors",
                )  # fmt: skip

    def _matches(self, names: list[str], is_video: bool) -> None:
        config, pairs_path = self.config, self.work / "pairs.txt"
        sequential = config.matching == "sequential"
        spaced = [name for name in names if " " in name]  # COLMAP splits its lists of pairs at spaces
        if config.matching == "auto":
            numbered = all(Path(name).stem[-1:].isdigit() for name in names)
            sequential = is_video or (len(names) > MANY_PHOTOGRAPHS and numbered and not spaced)
        elif sequential and spaced:
            raise InputError(
                f"Names with spaces ({spaced[0]!r}) cannot be matched in order; rename them, or use --matching exhaustive."
            )
        pairs = sfm_steps.sequential_pairs(names) if sequential else []
        total = len(pairs) if sequential else len(names) * (len(names) - 1) // 2
        log.info("Matching %s: %d pairs.", "neighbours in name order" if sequential else "all photographs", total)
        with self._step("matches", {"sequential": sequential}, self._clear_matches) as needed:
            if needed and sequential:
                with atomic(pairs_path) as temporary:
                    temporary.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
                self._child(
                    "matches", sfm_steps.match_pairs, self.database, pairs_path, config.num_threads, config.device,
                    total=total, table="matches",
                )  # fmt: skip
            elif needed:
                self._child(
                    "matches", sfm_steps.match_all_pairs, self.database, config.num_threads, config.device,
                    total=total, table="matches",
                )  # fmt: skip

    def _map(self, photographs: Path) -> None:
        config = self.config
        with self._step("focal lengths", {}, self.calibrated) as needed:
            if needed and not self._child("focal lengths", sfm_steps.calibrate, self.database, self.calibrated):
                log.warning("Focal lengths could not be found from the matches; the guess from EXIF or image size is used.")
        matched = self.key
        for mapper in ("global", "incremental"):
            self.key = matched  # the mappers do not depend on each other
            if config.mapper not in ("auto", mapper):
                shutil.rmtree(self.models / mapper, ignore_errors=True)
                continue
            try:
                with self._step(f"{mapper} mapping", {}, self.models / mapper) as needed:
                    if needed:
                        self._child(
                            f"{mapper} mapping", sfm_steps.map_scene, self.calibrated, photographs, self.models / mapper, mapper,
                            config.num_threads,
                        )  # fmt: skip
            except InputError as failure:
                if config.mapper != "auto":
                    raise
                log.warning("%s\nThe other mapper decides alone.", failure)

    def _undistort(self, model: ModelSummary, photographs: Path) -> None:
        scene, names = self.scene, sorted(model.poses)
        self._child(
            "undistorted", sfm_steps.undistort, model.path, photographs, self.undistorted, names, self.config.num_threads,
            total=len(names), folder=self.undistorted / "images",
        )  # fmt: skip
        # a full disk or a broken file must not result in an incomplete scene
        check_photographs(find_photographs(self.undistorted / "images", names))
        for part, target in (("images", scene.images), ("sparse", scene.sparse)):
            _place(self.undistorted / part, target)
        shutil.rmtree(self.undistorted)

    @contextmanager
    def _step(self, name: str, settings: dict[str, Any], outputs: Path | Callable[[], None]) -> Iterator[bool]:
        """Yield whether the step must run. Its outputs are removed first if this or an earlier step had other settings."""
        self.key = hashlib.sha256(json.dumps([self.key, name, settings], sort_keys=True).encode()).hexdigest()
        path = self.work / STEPS
        steps = read_steps(path)
        if name not in steps or steps[name].key != self.key:
            outputs() if callable(outputs) else sfm_steps.remove(outputs)
            steps[name] = StepState(self.key)
            write_json(path, plain(steps))
        yield not steps[name].complete
        steps[name] = StepState(self.key, complete=True)
        write_json(path, plain(steps))

    def _clear_matches(self) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for table in ("matches", "two_view_geometries"):
                connection.execute(f"DELETE FROM {table}")

    def _child(
        self,
        label: str,
        function: Callable[..., Any],
        *arguments: Any,
        total: int | None = None,
        table: str = "",
        folder: Path | None = None,
    ) -> Any:
        """Run a step in a child process with a progress bar that counts rows of a table or files of a folder."""
        timed = None if total else "{desc}: {elapsed} {postfix}"  # nothing to count
        log_path = self.work / "colmap.log"
        start = log_path.stat().st_size if log_path.exists() else 0
        with tqdm(total=total, desc=label, unit="pair" if table == "matches" else "image", bar_format=timed) as bar:

            def watch() -> None:
                if table:
                    bar.n = max(bar.n, _rows(self.database, table))
                elif folder is not None:
                    bar.n = sum(path.is_file() for path in folder.rglob("*"))
                else:
                    bar.set_postfix_str(_last_message(log_path, start), refresh=False)
                bar.refresh()

            try:
                return run_in_child(function, *arguments, log=log_path, watch=watch)
            except ChildError as failure:
                raise InputError(f"Structure from motion stopped at the step '{label}':\n{failure}") from None


def _place(made: Path, target: Path) -> None:
    """Move the files below `made` to `target`, replacing only the files of an earlier conversion."""
    owned = OwnedFiles(target)
    owned.remove()
    files = [path for path in sorted(made.rglob("*")) if path.is_file()]
    for path in files:
        if (target / path.relative_to(made)).exists():
            raise InputError(
                f"{target / path.relative_to(made)} is there already and not known to be of an earlier conversion, so that it is "
                f"not replaced. Move {target} away and repeat the command."
            )
    for path in files:
        place = target / path.relative_to(made)
        place.parent.mkdir(parents=True, exist_ok=True)
        owned.add(place)
        path.replace(place)


def read_steps(path: Path) -> dict[str, StepState]:
    """The steps that were begun, by name. InputError when the file is damaged."""
    return read_typed(path, dict[str, StepState], "Delete it; every step is then repeated.") if path.exists() else {}


def _rows(database: Path, table: str) -> int:
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=0.1)) as connection:
            return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    except sqlite3.OperationalError:  # not created yet, or locked for a moment
        return 0


def _last_message(path: Path, start: int) -> str:
    """Last message of COLMAP's log after byte `start`, without its prefix: shows progress for steps that count nothing."""
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.split("] ", 1)[1].strip()[:60] for line in reversed(lines) if "] " in line), "")
