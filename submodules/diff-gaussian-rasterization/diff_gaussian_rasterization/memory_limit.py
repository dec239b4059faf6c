"""How much memory this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes of the machine, or of the container or job that this process runs in, if that has fewer.

    `root` is where /proc and /sys are looked for.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _limit_files(root):
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # no such group here; "max" for no limit
            continue
    return min(limits)


def _limit_files(root: Path) -> Iterator[Path]:
    """Files with the limits of this process's control groups (version 1 and 2) and of all groups above them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        folder, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
        group_path = Path(group.lstrip("/"))
        for part in (group_path, *group_path.parents):
            yield root / "sys/fs/cgroup" / folder / part / name
