"""Arrays on disk (.npy, and members of .npz): sizes declared in a header are checked before anything is allocated."""

import errno
import io
import lzma
import os
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np

from workspace.errors import InputError
from workspace.files import atomic

LARGEST_MEMBER = 256 * 2**20  # bytes of one array in an archive; decompressed, it can be a thousand times the file size
REPEAT = "Delete it and rerun the stage that writes it."
_NUMBERS = "biuf"  # numpy dtype kinds accepted as real numbers
_MAGIC = b"\x93NUMPY"
# Exceptions that numpy and zipfile raise on damaged files. numpy parses its header as Python source.
_DAMAGED = (
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    RecursionError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy, whole or not at all."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        try:
            np.save(file, array, allow_pickle=False)
        except OSError as error:
            if error.errno is not None:
                raise
            # numpy's error gives the number of unwritten bytes, but not the reason: a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def load_array(path: Path, remedy: str = REPEAT) -> np.ndarray:
    """Read one .npy array of real numbers without unpickling.

    Raises:
        InputError: the file is missing, truncated, not a .npy file, or holds something other than numbers; the message ends
            with the `remedy`.
    """
    return _load(path, _NUMBERS, remedy)


def load_records(path: Path) -> np.ndarray:
    """Read one structured .npy array (named fields of numbers) without unpickling; errors as in `load_array`."""
    return _load(path, "V")


def _load(path: Path, kinds: str, remedy: str = REPEAT) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, kinds)
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except _DAMAGED as error:
        _refuse(path, "a readable .npy array", error, remedy)


def load_member(path: Path, name: str) -> np.ndarray:
    """Read the array `name` (real numbers, at most 256 MiB) of an .npz archive without unpickling.

    Raises:
        InputError: the file is missing, truncated, not an archive, encrypted, or its member is missing, too large or not an
            array of numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            member = next((entry for entry in (f"{name}.npy", name) if entry in names), None)
            if member is None:
                raise ValueError(f"it holds no {name}, but {', '.join(names[:5]) or 'nothing'}")
            size = archive.getinfo(member).file_size
            if size > LARGEST_MEMBER:
                raise ValueError(f"{name} has {size / 1e6:.0f} MB; expected at most {LARGEST_MEMBER / 1e6:.0f} MB")
            with archive.open(member) as file:
                return _read(file, size)
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except _DAMAGED as error:
        _refuse(path, f"a readable .npz archive with an array {name}", error)


def _read(file: io.BufferedIOBase, size: int, kinds: str = _NUMBERS) -> np.ndarray:
    """Read the array of an open .npy file of `size` bytes; its dtype must be one of `kinds`."""
    beginning = file.read(len(_MAGIC))
    if not beginning.startswith(_MAGIC):
        raise ValueError("it is a zip archive (.npz)" if beginning.startswith(b"PK") else "it has no .npy header")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    # version 3 differs from 2 only in field names, which arrays of numbers do not have
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.kind not in kinds or dtype.hasobject or any(length < 0 for length in shape):
        raise ValueError(f"it holds {str(dtype)[:40]} {list(shape)}; expected numbers")
    declared, held = dtype.itemsize, size - file.tell()
    for length in shape:
        declared *= length
    if declared > held:
        raise ValueError(f"its header declares {dtype} {list(shape)}, {declared} bytes; {held} are there")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _refuse(path: Path, expected: str, error: Exception, remedy: str = REPEAT) -> None:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        raise error  # the operating system cannot open it; `command_line.run` reports the reason
    reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    raise InputError(f"{path} is not {expected} ({reason}). {remedy}") from None
