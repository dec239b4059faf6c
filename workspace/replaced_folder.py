"""A folder of results that a new run replaces only when it is finished."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workspace.errors import InputError
from workspace.record import RECORD


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which takes its place when the block succeeds; a block that fails leaves
    the old one as it was. Of two runs at once the one that finishes last remains, whole.

    Raises:
        InputError: `folder` holds files that no stage wrote.
    """
    folder = folder.resolve()  # a link stays a link
    if folder.exists() and not (folder / RECORD).exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise InputError(
            f"{folder} holds files but no {RECORD}, so it was not written by this command, which would replace it. Move it away."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    new, old = (_beside(folder, kind) for kind in ("partial", "old"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        _swap(new, folder, old)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{socket.gethostname()}.{os.getpid()}.{kind}")


def _swap(new: Path, folder: Path, old: Path) -> None:
    while True:
        try:
            folder.rename(old)
        except FileNotFoundError:
            pass
        try:
            new.rename(folder)
            return
        except OSError:
            if not folder.exists():  # else another run has put its results there in between
                raise
            shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed runs on this machine left."""
    for entry in folder.parent.glob(f".{folder.name}.{socket.gethostname()}.*"):
        _, process, kind = entry.name.rsplit(".", 2)
        if kind in ("partial", "old") and process.isdigit() and not _runs(int(process)):
            shutil.rmtree(entry, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
