"""List of the files that this program wrote to a folder, so that it removes only these.

Users may add files to a stage folder: notes, photographs and links in it are kept. Every file that is written while a
folder is recorded is first listed in the hidden file `.files` of that folder.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from workspace.processes import has_ended, writer

MANIFEST = ".files"
REPLACED = ".replaced"  # the list of files that are being removed
_PARTIAL = re.compile(r"\..*\.((?:[0-9a-f]{8}-)?\d+)\.partial(\.[^.]*)?")
_recorded: list["OwnedFiles"] = []


class OwnedFiles:
    """The list of the files that were written into `folder`; the folder itself may be a link to another disk."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: set[str] = set()

    @property
    def begun(self) -> bool:
        """Whether the folder has a list; files that are not listed are the user's."""
        return (self.folder / MANIFEST).is_file()

    def add(self, path: Path) -> None:
        """List a file below the folder. Call it before the file appears: a listed file need not exist."""
        name = path.relative_to(self.folder).as_posix()
        if name not in self._known:
            self._known.add(name)
            with (self.folder / MANIFEST).open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")  # short appended lines of several processes do not interleave

    def begin(self) -> None:
        """Create the list, or continue an existing one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MANIFEST).touch()

    def listed(self, manifest: str = MANIFEST) -> list[Path]:
        """Listed paths below the folder, except those reached through a link inside it: such links are the user's."""
        path = self.folder / manifest
        names = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        return [path for name in dict.fromkeys(names) if (path := self._below(name)) is not None]

    @property
    def being_removed(self) -> bool:
        """Whether a removal was started and killed."""
        return (self.folder / REPLACED).is_file()

    def remove(self) -> None:
        """Delete the listed files and the folders that this leaves empty, or finish a removal that was killed.

        The list is empty afterwards. A listed file that is now a link is unlinked; its target stays.
        """
        if self.begun and not self.being_removed:
            (self.folder / MANIFEST).rename(self.folder / REPLACED)
        self._known.clear()
        self._delete(self.listed(REPLACED))
        self.begin()
        (self.folder / REPLACED).unlink(missing_ok=True)

    def discard(self, paths: Iterable[Path]) -> None:
        """Delete those of `paths` that are listed, and the folders that this leaves empty; the list keeps the others."""
        listed = self.listed()
        gone = set(paths) & set(listed)
        self._delete(path for path in listed if path in gone)
        self._known = {path.relative_to(self.folder).as_posix() for path in listed if path not in gone}
        rest = self.folder / f"{MANIFEST}.{writer()}"
        rest.write_text("".join(f"{name}\n" for name in sorted(self._known)), encoding="utf-8")
        rest.replace(self.folder / MANIFEST)

    def _delete(self, paths: Iterable[Path]) -> None:
        parents: set[Path] = set()
        for path in paths:
            if path.is_symlink() or path.is_file():
                path.unlink(missing_ok=True)
                parents |= {parent for parent in path.parents if self.folder in parent.parents}
        for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
            if not any(parent.iterdir()):
                parent.rmdir()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Add files that `workspace.atomic` writes below the folder to the list while the block runs."""
        _recorded.append(self)
        try:
            yield
        finally:
            _recorded.remove(self)

    def _below(self, name: str) -> Path | None:
        relative = PurePosixPath(name)
        if not relative.parts or relative.is_absolute() or ".." in relative.parts:
            return None
        path = self.folder / relative
        linked = any(parent.is_symlink() for parent in path.parents if self.folder in parent.parents)
        return None if linked else path


def list_written(path: Path) -> None:
    """Add a file that is about to be written to the list of the innermost folder being recorded, if any."""
    for owned in reversed(_recorded):
        if path.is_relative_to(owned.folder):
            owned.add(path)
            return


def holds_files(folder: Path) -> bool:
    """Whether there are files below a folder that are not hidden; system files such as .DS_Store are hidden."""
    for parent, folders, names in os.walk(folder):  # a folder that another process moves away meanwhile ends the walk
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        if links or not all(name.startswith(".") for name in names):
            return True
    return False


def remove_abandoned(folder: Path) -> None:
    """Delete partial files below `folder` whose writing process has ended, on this machine; links are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            match = _PARTIAL.fullmatch(name)
            if match and has_ended(match[1]):
                (Path(parent) / name).unlink(missing_ok=True)
