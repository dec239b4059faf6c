"""Atomic file writes, and digests of file contents."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workspace.owned_files import list_written
from workspace.processes import writer


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it replaces `path` only when the block succeeds.

    The temporary name keeps the suffix, from which writers such as OpenCV choose the format. It is hidden, so that no listing
    of finished files includes it, and identifies the process, so that files of killed processes can be removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{writer()}.partial{path.suffix}")
    try:
        yield temporary
        list_written(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
