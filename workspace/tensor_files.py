"""PyTorch files: written whole or not at all, read without executing their content, with one message per kind of defect."""

import re
import struct
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from workspace.errors import InputError
from workspace.files import atomic
from workspace.tensor_tree import Unsound, copied

# Exceptions that the reader raises on truncated or damaged files, besides OSError for a truncated zip archive.
_DAMAGED = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AssertionError,
    AttributeError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    UnpicklingError,
)


def save_tensors(path: Path, value: Any) -> None:
    """Write tensors, numbers, strings and containers of them, whole or not at all."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # PyTorch hides the operating system's error, such as a full disk
                raise error.__context__ from None
            raise


def load_tensors(path: Path, expected: str, remedy: str, *, device: torch.device | str = "cpu", safe: Sequence[Any] = ()) -> Any:
    """Read a `torch.save` file: tensors, numbers, strings, and containers of them. Nothing in the file is executed.

    Every tensor is dense, without gradient, and stored completely in the file: a larger declared size is rejected before it is
    allocated.

    Args:
        path: the file.
        expected: what the file should be, for the message, such as "the checkpoint of a training run".
        remedy: a sentence that says what the user can do otherwise.
        device: device of the returned tensors.
        safe: additional types allowed in the file, as `torch.serialization.safe_globals` takes them.

    Raises:
        InputError: the file is missing, not a PyTorch file, truncated or damaged, holds objects that are not safe to load, or
            tensors that are sparse, quantised, without data or larger than the file.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(64)
    except FileNotFoundError:
        raise InputError(f"No file {path}; expected {expected}. {remedy}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected {expected}. {remedy}") from None
    found = _foreign(beginning)
    size = path.stat().st_size
    if found is None:
        zipped = beginning.startswith(b"PK")
        try:
            if zipped:
                _refuse_packed(path, size)
            with torch.serialization.safe_globals(list(safe)), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickle protocols that torch reads from damaged bytes
                # Mapped storages cannot grow, so torch raises an error for a tensor that declares more than its storage holds.
                content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped)
            return copied(content, size, device)
        except torch.cuda.OutOfMemoryError:  # also a RuntimeError, but not caused by the file
            raise
        except Unsound as error:
            found = str(error)
        except (OSError, *_DAMAGED) as error:
            if isinstance(error, OSError) and error.filename is not None:  # it cannot be opened, such as without permission
                raise
            found = _reason(error)
    raise InputError(f"{path} ({size / 1e6:.1f} MB) {found}; expected {expected}. {remedy}") from None


def _foreign(beginning: bytes) -> str | None:
    """Description of a file that does not begin like a PyTorch file, or None if it does."""
    if not beginning:
        return "is empty"
    if beginning.startswith((b"PK", b"\x80")):  # torch's zip format, and its older plain pickles
        return None
    if beginning.startswith(b"version https://git-lfs"):
        return "is only the pointer of a Git LFS file (git lfs pull fetches the file itself)"
    if beginning.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page saved under that name"
    return "is not a file of PyTorch"


def _refuse_packed(path: Path, size: int) -> None:
    """torch.save does not compress: an archive whose entries are larger than its file was written by something else."""
    with zipfile.ZipFile(path) as archive:
        held = sum(entry.file_size for entry in archive.infolist())
    if held > size:
        raise Unsound(f"declares {held / 1e6:.1f} MB of entries")


def _reason(error: Exception) -> str:
    # torch appends long advice to its reason, some of it to load the file unsafely
    unsafe = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, UnpicklingError) else None
    if unsafe:
        return f"holds objects that are not safe to load ({unsafe.group(1)})"
    return "was cut short or damaged"
