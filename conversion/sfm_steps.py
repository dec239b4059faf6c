"""Steps of structure from motion through pycolmap. Each function runs in a child process.

Every step continues from the database of a killed run, or starts again in an empty output folder.
"""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

SEED = 0
UNDISTORTED_JPEG_QUALITY = 97


def remove(path: Path) -> None:
    """Remove a folder, or a file and its SQLite journals: those of a killed run would be replayed into the next database."""
    if path.is_dir():
        shutil.rmtree(path)
        return
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def extract_features(
    database: Path, photographs: Path, groups: Sequence[Sequence[str]], camera_model: str, image_size: int, num_features: int,
    num_threads: int, device: str,
) -> None:  # fmt: skip
    """SIFT features of every photograph; each group of names shares one camera. Photographs already done are skipped."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions(max_image_size=image_size, num_threads=num_threads)
    options.sift.max_num_features = num_features
    singles = [group[0] for group in groups if len(group) == 1]
    shared = [group for group in groups if len(group) > 1]
    jobs = [(group, pycolmap.CameraMode.SINGLE) for group in shared]
    if singles:
        jobs.append((singles, pycolmap.CameraMode.PER_IMAGE))
    for names, mode in jobs:
        reader = pycolmap.ImageReaderOptions(camera_model=camera_model)
        if mode == pycolmap.CameraMode.SINGLE:
            # a killed run may have written this group's camera; a second one would split the group
            reader.existing_camera_id = _camera_of(database, names)
        pycolmap.extract_features(
            database, photographs, list(names), camera_mode=mode, reader_options=reader, extraction_options=options,
            device=getattr(pycolmap.Device, device),
        )  # fmt: skip


def _camera_of(database: Path, names: Sequence[str]) -> int:
    if not database.exists():
        return -1
    with closing(sqlite3.connect(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        found = dict(connection.execute("SELECT name, camera_id FROM images")) if "images" in tables else {}
    return next((found[name] for name in names if name in found), -1)


def match_all_pairs(database: Path, num_threads: int, device: str) -> None:
    """Match every photograph with every other, skipping pairs that are in the database."""
    import pycolmap

    options = pycolmap.FeatureMatchingOptions(num_threads=num_threads)
    pycolmap.match_exhaustive(database, options, verification_options=_verification(), device=getattr(pycolmap.Device, device))


def match_pairs(database: Path, pairs: Path, num_threads: int, device: str) -> None:
    """Match the pairs of names listed in the file `pairs`, skipping pairs that are in the database."""
    import pycolmap

    options = pycolmap.FeatureMatchingOptions(num_threads=num_threads)
    pairing = pycolmap.ImportedPairingOptions(match_list_path=pairs)
    pycolmap.match_image_pairs(
        database, options, pairing, verification_options=_verification(), device=getattr(pycolmap.Device, device)
    )


def _verification():  # noqa: ANN202 (pycolmap is imported in the child only)
    import pycolmap

    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = SEED
    return options


def sequential_pairs(names: Sequence[str], overlap: int = 10) -> list[tuple[str, str]]:
    """Pairs of an ordered capture: each photograph with the next `overlap` and with those 2^k further on, and every `overlap`-th
    with all other `overlap`-th ones, which closes loops without a vocabulary tree."""
    count = len(names)
    offsets = {*range(1, overlap + 1), *(2**k for k in range(count.bit_length()))}
    pairs = {(i, i + offset) for i in range(count) for offset in offsets if i + offset < count}
    keyframes = range(0, count, overlap)
    pairs |= {(i, j) for i in keyframes for j in keyframes if i < j}
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def calibrate(source: Path, target: Path) -> bool:
    """Copy the database and estimate focal lengths there from the pairs' fundamental matrices; False if too few agree.

    Photographs without EXIF data start from a guessed focal length, and mapping with a wrong one bends the whole scene.
    """
    import pycolmap

    remove(target)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    return pycolmap.calibrate_view_graph(target, pycolmap.ViewGraphCalibrationOptions(random_seed=SEED))


def map_scene(database: Path, photographs: Path, output: Path, mapper: str, num_threads: int) -> None:
    """Estimate poses and points: `global` all at once, `incremental` one photograph at a time. Models go to `output`/<i>."""
    import pycolmap

    remove(output)
    output.mkdir(parents=True)
    if mapper == "global":
        options = pycolmap.GlobalPipelineOptions(num_threads=num_threads, random_seed=SEED)
        pycolmap.global_mapping(database, photographs, output, options)
    else:
        options = pycolmap.IncrementalPipelineOptions(num_threads=num_threads, random_seed=SEED, min_model_size=3)
        pycolmap.incremental_mapping(database, photographs, output, options)


def undistort(model: Path, photographs: Path, output: Path, registered: Sequence[str], num_threads: int) -> None:
    """Write `output`/images and `output`/sparse with pinhole cameras. Undistorted photographs are copied unchanged."""
    import pycolmap

    remove(output)
    cameras = pycolmap.Reconstruction(model).cameras.values()
    if all(camera.model.name in ("PINHOLE", "SIMPLE_PINHOLE") for camera in cameras):
        for name in registered:
            (output / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(photographs / name, output / "images" / name)
        shutil.copytree(model, output / "sparse")
        return
    pycolmap.undistort_images(
        output, model, photographs, list(registered), jpeg_quality=UNDISTORTED_JPEG_QUALITY, num_threads=num_threads
    )  # fmt: skip
