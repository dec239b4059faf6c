"""Files written whole or not at all, and read with one clear error when they are missing or damaged."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workspace.errors import InputError


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
