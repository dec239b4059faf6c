"""A folder of results that a new run replaces only when it is finished."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workspace.errors import InputError
from workspace.owned_files import MANIFEST, OwnedFiles, holds_files
from workspace.processes import has_ended, writer
from workspace.stage_record import RECORD

LOOKS, PAUSE = 4, 0.05  # times, seconds; exchanging two folders takes a millisecond


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which replaces it when the block succeeds; a block that fails leaves the old one
    unchanged. Of two concurrent runs, the complete result of the one that finishes last remains. Files that the user put
    into the old folder are moved into the new one.

    Raises:
        InputError: `folder` holds files that no stage wrote.
    """
    folder = folder.resolve()  # a link stays a link
    if _is_foreign(folder):
        raise InputError(
            f"{folder} holds files but no {RECORD}, so it was not written by this command, which would replace it. Move it away."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    new, old = (_beside(folder, kind) for kind in ("partial", "old"))
    new.mkdir()
    try:
        yield new
        _swap(new, folder, old)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _discard(old, folder)


def _is_foreign(folder: Path) -> bool:
    """Whether it holds files without a record. Asked again, since another run may just be putting its folder in this place."""
    for _ in range(LOOKS):
        if not holds_files(folder) or (folder / RECORD).exists():
            return False
        time.sleep(PAUSE)
    return True


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{writer()}.{kind}")


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
            if not folder.exists():  # otherwise a concurrent run has just put its results there
                raise
            _discard(old, folder)


def _discard(done: Path, folder: Path) -> None:
    """Remove old results; the user's files among them move to `folder`, or stay in place if it has a file of that name."""
    if not done.exists():
        return
    OwnedFiles(done).remove()
    for name in (RECORD, MANIFEST):  # the list is empty now
        (done / name).unlink(missing_ok=True)
    for path in [path for path in done.rglob("*") if path.is_symlink() or not path.is_dir()]:
        target = folder / path.relative_to(done)
        if folder.is_dir() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    if not any(path.is_symlink() or not path.is_dir() for path in done.rglob("*")):
        shutil.rmtree(done)


def _remove_abandoned(folder: Path) -> None:
    """Remove the folders left by killed runs on this machine."""
    left = re.compile(rf"\.{re.escape(folder.name)}\.([0-9a-f]{{8}}-\d+)\.(partial|old)")
    for entry in folder.parent.iterdir():
        match = left.fullmatch(entry.name)
        if match and has_ended(match[1]):
            shutil.rmtree(entry) if match[2] == "partial" else _discard(entry, folder)
