"""Convert photographs or a video to a scene folder, without changing files that this command did not write."""

import dataclasses
import hashlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from conversion.model_verdict import verdict_table
from conversion.steps import STEPS, Conversion, ConvertConfig
from workspace import InputError, SceneFolder
from workspace.owned_files import holds_files
from workspace.record_types import ConvertRecord
from workspace.stage_record import RECORD, stage

log = logging.getLogger(__name__)

SMALLEST_SIDE = 16  # pixels; smaller images are too small for a feature


def convert(config: ConvertConfig) -> None:
    """Photographs or a video -> a COLMAP scene with undistorted photographs, by structure from motion on the CPU."""
    _refuse_meaningless(config)
    _require_pycolmap()
    scene = SceneFolder(config.output_path)
    _refuse_foreign_output(config, scene)
    settings = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for name in ("source_path", "output_path", "device", "num_threads", "overwrite"):
        del settings[name]  # they do not change the result
    settings["distorted_model"] = config.distorted_model and str(config.distorted_model.resolve())
    inputs = {"capture": str(config.source_path.resolve()), "fingerprint": _fingerprint(config.source_path)}

    with stage(scene.sparse.parent, ConvertRecord, settings, inputs, config.overwrite) as run:
        finished = run.report is not None  # an unfinished conversion has no report
        if not finished:
            run.report = Conversion(config, scene, inputs).run()
    log.info("Scene %s%s:\n%s", scene.root, " is finished" if finished else "", verdict_table(run.report))
    log.info("Next: python train.py -s %s", scene.root)


def _refuse_meaningless(config: ConvertConfig) -> None:
    for name, least in (("num_features", 1), ("image_size", SMALLEST_SIDE), ("frames", 3)):
        if getattr(config, name) < least:
            raise InputError(f"--{name} {getattr(config, name)}: expected {least} or more.")
    if config.num_threads != -1 and config.num_threads < 1:
        raise InputError(f"--num_threads {config.num_threads}: expected 1 or more, or -1 for all cores.")


def _require_pycolmap() -> None:
    # not imported here: importing it installs handlers for signals that this process handles itself
    if importlib.util.find_spec("pycolmap") is None:
        raise InputError("convert.py needs pycolmap. Run: pip install pycolmap")


def _refuse_foreign_output(config: ConvertConfig, scene: SceneFolder) -> None:
    """Protect the user's photographs and scenes: only a folder written by this command may be overwritten."""
    source, output = config.source_path.resolve(), scene.root.resolve()
    if not source.exists():
        raise InputError(f"No folder or video {config.source_path}.")
    if source.is_dir() and (output == source or output.is_relative_to(source) or source.is_relative_to(output / "images")):
        raise InputError(
            f"The scene {scene.root} would be written among the photographs of {config.source_path}. Choose a folder elsewhere: "
            f"python convert.py -s {config.source_path} -o {source.with_name(source.name + '_scene')}"
        )
    if not (scene.sparse.parent / RECORD).exists() and not (scene.conversion / STEPS).exists():
        for folder in (scene.images, scene.sparse.parent):
            if holds_files(folder):
                raise InputError(f"{folder} holds files that convert.py did not make; they are not touched. Choose another -o.")


def _fingerprint(source: Path) -> str:
    """Hash of the capture's file names and sizes: added or replaced photographs restart the conversion."""
    files: Sequence[Path] = (
        [source]
        if source.is_file()
        else sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    )
    entries = [(path.relative_to(source).as_posix(), path.stat().st_size) for path in files]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]
