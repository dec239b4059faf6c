"""The vertex table of a PLY file: reads text and binary, writes binary.

Parsed here because plyfile allocates whatever a header declares, builds every mesh face as Python objects, and reads text
row by row (half a minute for 20 MB). Format: http://paulbourke.net/dataformats/ply/.
"""

from pathlib import Path
from typing import IO

import numpy as np
from plyfile import PlyData, PlyElement

from workspace import InputError, atomic

LONGEST_HEADER = 1 << 16  # bytes; a 3DGS header with 62 properties has 1,500
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}


def read_vertices(path: Path) -> np.ndarray:
    """Vertices as a structured array [n], n > 0, with one field per property; other elements are skipped.

    Raises:
        InputError: the file is missing, truncated, not a PLY file, or has no vertices; vertices have list properties or follow an
            element that has; or the file holds fewer vertices than its header declares.
    """
    try:
        with path.open("rb") as file:
            order, skipped, dtype, count = _header(file)
            if count == 0:
                raise InputError(f"{path} has no vertices.")
            held = path.stat().st_size - file.tell()
            if order is None:
                if 2 * count * len(dtype) > held + 1:  # minimum per value: one digit and a separator
                    raise ValueError(f"{count} vertices do not fit in {held} bytes")
                for _ in range(skipped):
                    file.readline()
                vertices = np.loadtxt(file, dtype, comments=None, max_rows=count, ndmin=1, encoding="ascii")
                if len(vertices) < count:
                    raise ValueError(f"{len(vertices)} of {count} vertices are there")
                return vertices
            if skipped + count * dtype.itemsize > held:
                raise ValueError(f"{count} vertices of {dtype.itemsize} bytes do not fit in {held} bytes")
            file.seek(skipped, 1)
            return np.fromfile(file, dtype, count)
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a PLY file.") from None
    except (ValueError, OverflowError, MemoryError, IndexError) as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a PLY file, or was cut short ({reason}).") from None


def vertex_properties(path: Path) -> tuple[str, ...]:
    """Names of the vertex properties of a file that `read_vertices` reads, from its header alone."""
    with path.open("rb") as file:
        return _header(file)[2].names or ()


def write_vertices(path: Path, vertices: np.ndarray) -> None:
    """Write a vertex table as binary PLY with its properties, order and types; atomic."""
    with atomic(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


def _header(file: IO[bytes]) -> tuple[str | None, int, np.dtype, int]:
    """Byte order (None for text), what to skip before the vertices (bytes, or lines of text), vertex dtype, vertex count."""
    lines = _header_lines(file)
    if next(lines) != ["ply"]:
        raise ValueError("it does not begin with 'ply'")
    order, skipped = None, 0
    element, count, fields, has_lists = "", 0, {}, False
    found = None
    for kind, *words in [*lines, ["element", "", "0"]]:
        if kind == "format":
            if words[0] not in _ORDERS:
                raise ValueError(f"unknown format {words[0]!r}")
            order = _ORDERS[words[0]]
        elif kind == "element":
            if element == "vertex":
                if has_lists:
                    raise ValueError("its vertices have lists")
                found = np.dtype(list(fields.items())), count
                break
            if has_lists and count:
                raise ValueError(f"its vertices stand after {element}s, which have lists")
            skipped += count * (1 if order is None else np.dtype(list(fields.items())).itemsize)
            element, count, fields, has_lists = words[0], int(words[1]), {}, False
            if not 0 <= count < 2**40:
                raise ValueError(f"it declares {words[1][:20]} elements {element!r}")
        elif kind == "property":
            has_lists |= words[0] == "list"
            if words[0] != "list":
                if words[0] not in _TYPES or words[1] in fields:
                    raise ValueError(f"a property {' '.join(words)[:60]!r}")
                fields[words[1]] = (order or "<") + _TYPES[words[0]]
    if found is None or not found[0].names:
        return order, 0, np.dtype([]), 0
    return order, skipped, *found


def _header_lines(file: IO[bytes]):
    """Words of each line up to `end_header`, without comments."""
    while file.tell() < LONGEST_HEADER:
        line = file.readline(LONGEST_HEADER)
        if not line:
            break
        words = line.decode("ascii").split()
        if words == ["end_header"]:
            return
        if words and words[0] not in ("comment", "obj_info"):
            yield words
    raise ValueError("its header has no end")
