"""Figures of a reconstructed model for the verdict, computed by pycolmap in a child process."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

EPIPOLAR_ERROR = 4.0  # pixels at a width of 1600; COLMAP's threshold for verifying matches
MAX_MATCHES_PER_PAIR = 200  # enough to estimate a pair's share of explained matches to a few per cent


@dataclass(frozen=True)
class ModelSummary:
    """Figures of one model. Errors are in pixels of the photographs."""

    path: Path
    mapper: str  # "global", "incremental", or "given"
    poses: dict[str, Float[np.ndarray, "3 4"]]  # world to camera, of the registered photographs
    num_points: int
    mean_error: float
    mean_track_length: float
    cameras: tuple[tuple[str, int, int, float, float], ...]  # model, width, height, fx, fy
    explained: float | None  # share of all verified matches that agree with the model's poses; None without a database
    misplaced: tuple[str, ...]  # photographs whose matches mostly disagree with their pose


def summarize_models(folders: Sequence[Path], mappers: Sequence[str], database: Path | None) -> list[ModelSummary]:
    """Summaries, best first: sorted by share of explained matches, then by registered photographs, then by points.

    The reprojection error of a model is measured on the points it kept, so a bent model that discarded contradicting points
    looks good. The verified matches do not have this bias: they were verified pair by pair before any model existed.
    """
    import pycolmap

    summaries = []
    for folder, mapper in zip(folders, mappers, strict=True):
        model = pycolmap.Reconstruction(folder)
        explained, misplaced = (None, ()) if database is None else explained_matches(model, database)
        poses = {image.name: image.cam_from_world().matrix() for image in model.images.values() if image.has_pose}
        summaries.append(
            ModelSummary(
                path=folder,
                mapper=mapper,
                poses=poses,
                num_points=model.num_points3D(),
                mean_error=model.compute_mean_reprojection_error(),
                mean_track_length=model.compute_mean_track_length(),
                cameras=tuple((c.model.name, c.width, c.height, *_focals(c)) for c in model.cameras.values()),
                explained=explained,
                misplaced=misplaced,
            )
        )
    return sorted(summaries, key=lambda s: (s.explained or 0, len(s.poses), s.num_points), reverse=True)


def _focals(camera) -> tuple[float, float]:  # noqa: ANN001 (pycolmap.Camera, imported in the child only)
    if len(camera.focal_length_idxs()) == 1:
        return camera.mean_focal_length(), camera.mean_focal_length()
    return camera.focal_length_x, camera.focal_length_y


def explained_matches(model, database: Path) -> tuple[float, tuple[str, ...]]:  # noqa: ANN001 (pycolmap.Reconstruction)
    """Share of the verified matches with a small epipolar error in the model, and the photographs where most have a large one.

    Matches of unregistered photographs count as not explained.
    """
    images = {image.name: image for image in model.images.values() if image.has_pose}
    total, explained = 0.0, 0.0
    shares = {name: [0.0, 0.0] for name in images}  # explained and all matches of each registered photograph
    rays: dict[str, np.ndarray] = {}
    for first, second, matches, keypoints in _verified_pairs(database):
        total += len(matches)
        if first not in images or second not in images:
            continue
        a, b = images[first], images[second]
        for name, image in ((first, a), (second, b)):
            if name not in rays:
                rays[name] = model.cameras[image.camera_id].cam_from_img(keypoints(name).astype(np.float64))
        sample = matches[:: max(1, len(matches) // MAX_MATCHES_PER_PAIR)]
        relative = b.cam_from_world() * a.cam_from_world().inverse()
        errors = _sampson(relative.rotation.matrix(), relative.translation, rays[first][sample[:, 0]], rays[second][sample[:, 1]])
        camera = model.cameras[a.camera_id]
        limit = EPIPOLAR_ERROR * max(camera.width, camera.height) / 1600 / camera.mean_focal_length()
        good = len(matches) * float((errors < limit).mean())
        explained += good
        for name in (first, second):
            shares[name][0] += good
            shares[name][1] += len(matches)
    misplaced = tuple(sorted(name for name, (good, count) in shares.items() if good < 0.5 * count))
    return (explained / total if total else 0.0), misplaced


def _verified_pairs(database: Path) -> Iterator[tuple]:
    """For every verified pair: both names, matches [m, 2], and a function that reads a photograph's keypoints [n, 2]."""
    with closing(sqlite3.connect(database)) as connection:
        names = dict(connection.execute("SELECT image_id, name FROM images"))
        ids = {name: image_id for image_id, name in names.items()}

        def keypoints(name: str) -> np.ndarray:
            query = "SELECT rows, cols, data FROM keypoints WHERE image_id = ?"
            rows, columns, data = connection.execute(query, (ids[name],)).fetchone()
            return np.frombuffer(data, np.float32).reshape(rows, columns)[:, :2]

        for pair, rows, data in connection.execute("SELECT pair_id, rows, data FROM two_view_geometries WHERE rows > 0"):
            first, second = divmod(pair, 2147483647)  # COLMAP's encoding of a pair of image ids
            yield names[first], names[second], np.frombuffer(data, np.uint32).reshape(rows, 2), keypoints


def _sampson(
    rotation: Float[np.ndarray, "3 3"],
    translation: Float[np.ndarray, "3"],
    a: Float[np.ndarray, "m 2"],
    b: Float[np.ndarray, "m 2"],
) -> Float[np.ndarray, " m"]:
    """Sampson (first-order epipolar) error of matches, in units of the focal length (Hartley-Zisserman 11.9)."""
    x, y, z = translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    a, b = (np.column_stack([points, np.ones(len(points))]) for points in (a, b))
    to_b, to_a = a @ essential.T, b @ essential
    squared = (to_b[:, :2] ** 2).sum(1) + (to_a[:, :2] ** 2).sum(1)
    return np.abs((b * to_b).sum(1)) / np.sqrt(np.maximum(squared, 1e-30))
