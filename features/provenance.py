"""Photographs identified by content, so that replaced ones are detected."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from features.photographs import Photographs
from scene.photographs import photograph_digest


def digests(photographs: Photographs) -> dict[str, str]:
    """Digest of every photograph by key; unreadable ones are left out, since reading them reports the error."""

    def digest(path: Path) -> str:
        try:
            return photograph_digest(path)
        except OSError:
            return ""

    with ThreadPoolExecutor() as pool:
        found = dict(zip(photographs, pool.map(digest, (path for path, _ in photographs.values())), strict=True))
    return {key: value for key, value in found.items() if value}


def replaced(made: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Images whose photograph changed since their features were computed."""
    return [key for key, digest in made.items() if now.get(key, digest) != digest]
