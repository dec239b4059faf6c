"""Points from a PLY file: coloured, as in nerfstudio scenes, or labelled, as in scans."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from scene.ply import read_vertices
from workspace import InputError

NYU40 = 40  # the largest id of that set; 0 is unlabelled


def read_point_cloud(path: Path) -> tuple[Float32[np.ndarray, "k 3"], UInt8[np.ndarray, "k 3"]]:
    """Positions and colours (0..255; mid grey when the file has none).

    Raises:
        InputError: the file cannot be read, its vertices have no position, or a colour is outside 0..255 (integers) or
            0..1 (floats).
    """
    vertices = read_vertices(path)
    xyz = _stacked(path, vertices, "x", "y", "z")
    if not {"red", "green", "blue"} <= set(vertices.dtype.names):
        return _float32(xyz), np.full((len(xyz), 3), 128, np.uint8)
    rgb = _stacked(path, vertices, "red", "green", "blue")
    whole = rgb.dtype.kind in "ui"
    if not ((rgb >= 0) & (rgb <= (255 if whole else 1))).all():
        raise InputError(
            f"{path} has colours from {rgb.min():g} to {rgb.max():g}; expected {'0 to 255' if whole else '0 to 1 of floats'}."
        )
    return _float32(xyz), rgb.astype(np.uint8) if whole else (rgb * 255 + 0.5).astype(np.uint8)


def read_labelled_points(path: Path) -> tuple[Float32[np.ndarray, "k 3"], Int64[np.ndarray, " k"]]:
    """Positions and labels of a scan such as ScanNet's `<scene>_vh_clean_2.labels.ply`, whose labels are NYU40 ids.

    Raises:
        InputError: the file cannot be read, its vertices have no position or no integer label, or a label is no NYU40 id.
    """
    vertices = read_vertices(path)
    xyz, labels = _stacked(path, vertices, "x", "y", "z"), _stacked(path, vertices, "label")[:, 0]
    if labels.dtype.kind not in "ui":
        raise InputError(f"{path} has labels of {labels.dtype}; expected whole numbers.")
    if labels.min() < 0 or labels.max() > NYU40:
        raise InputError(
            f"{path} has labels from {labels.min()} to {labels.max()}; expected NYU40 ids, 0 to {NYU40}, as in "
            "<scene>_vh_clean_2.labels.ply (another set of ids would name other classes)."
        )
    return _float32(xyz), labels.astype(np.int64)


def _stacked(path: Path, vertices: np.ndarray, *names: str) -> np.ndarray:
    found = vertices.dtype.names or ()
    if not set(names) <= set(found):
        raise InputError(f"{path} has vertices without {', '.join(names)}; it has {', '.join(sorted(found))}.")
    return np.stack([vertices[name] for name in names], 1)


def _float32(xyz: np.ndarray) -> Float32[np.ndarray, "k 3"]:
    with np.errstate(over="ignore"):  # overflow gives infinity; callers drop such points
        return xyz.astype(np.float32)
