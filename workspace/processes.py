"""Processes: number of usable cores, Ctrl-C in workers, and which process wrote a file."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import zlib


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin_worker() -> None:
    """Initialise a worker process: Ctrl-C is left to its parent, and it ends when the parent is gone.

    A parent that is killed cannot end its workers, which would wait for work forever with all their memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def writer() -> str:
    """Name of this process for temporary files, different on every machine that shares a disk."""
    return f"{_machine()}-{os.getpid()}"


def has_ended(name: str) -> bool:
    """Whether the process of a `writer` name ran on this machine and has ended; a name without a machine means this machine."""
    machine, _, process = name.rpartition("-")
    if machine not in ("", _machine()):
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # running, but owned by another user
        return False
    return False


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
