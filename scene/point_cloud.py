"""Coloured and labelled points from PLY files, as nerfstudio scenes and scans bring them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from plyfile import PlyData, PlyElement, PlyParseError

from workspace import InputError


def read_vertices(path: Path) -> PlyElement:
    """Vertex table of a PLY file, text or binary.

    Raises:
        InputError: the file is missing, cut short, no PLY, or without vertices.
    """
    try:
        with path.open("rb") as file:
            vertices = PlyData.read(file)["vertex"]
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except KeyError:
        raise InputError(f"{path} has no vertices.") from None
    except (PlyParseError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a PLY file, or was cut short ({error}).") from None
    if vertices.count == 0:
        raise InputError(f"{path} has no vertices.")
    return vertices


def read_point_cloud(path: Path) -> tuple[Float32[np.ndarray, "k 3"], UInt8[np.ndarray, "k 3"]]:
    """Positions and colours (0..255; mid grey when the file has none)."""
    vertices = read_vertices(path)
    names = {p.name for p in vertices.properties}
    if not {"x", "y", "z"} <= names:
        raise InputError(f"{path} has vertices without x, y, z; it has {', '.join(sorted(names))}.")
    xyz = np.stack([vertices[name] for name in "xyz"], 1).astype(np.float32)
    if {"red", "green", "blue"} <= names:
        rgb = np.stack([vertices[name] for name in ("red", "green", "blue")], 1)
        rgb = rgb.astype(np.uint8) if rgb.dtype.kind in "ui" else np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
    else:
        rgb = np.full((len(xyz), 3), 128, np.uint8)
    finite = np.isfinite(xyz).all(1)
    return xyz[finite], rgb[finite]


def read_labelled_points(path: Path) -> tuple[Float32[np.ndarray, "k 3"], Int64[np.ndarray, " k"]]:
    """Positions and labels of a scan such as ScanNet's `<scene>_vh_clean_2.labels.ply`, whose labels are NYU40 ids."""
    vertices = read_vertices(path)
    names = {p.name for p in vertices.properties}
    if not {"x", "y", "z", "label"} <= names:
        raise InputError(f"{path} has vertices without x, y, z, label; it has {', '.join(sorted(names))}.")
    return np.stack([vertices[name] for name in "xyz"], 1).astype(np.float32), np.asarray(vertices["label"]).astype(np.int64)
