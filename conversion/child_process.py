"""Run one function in a child process: it can be interrupted at any time, and its native output goes to a log.

Structure from motion spends minutes inside C++ code that ignores Ctrl-C and writes to the terminal.
"""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_POLL = 0.5  # seconds between checks of the progress


class ChildError(Exception):
    """The function raised or its process died; the message is the end of its log."""


def run_in_child(function: Callable[..., Any], *arguments: Any, log: Path, watch: Callable[[], None]) -> Any:
    """Call `function(*arguments)` in a new process and return what it returns; `watch` is called twice a second.

    Everything the process prints is appended to `log`. An exception in the caller, such as Ctrl-C, kills the process first.

    Raises:
        ChildError: the function raised, or the process died.
        OSError: (ENOSPC) the disk of `log` is full.
    """
    context = multiprocessing.get_context("spawn")  # fork would copy locks held by threads that the child does not have
    receiver, sender = context.Pipe(duplex=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    start = log.stat().st_size
    process = context.Process(target=_run, args=(function, arguments, log, sender, os.getpid()), daemon=True)
    process.start()
    sender.close()
    try:
        while not wait([process.sentinel, receiver], timeout=_POLL):
            watch()
        result = receiver.recv() if receiver.poll() else ()
        process.join()
        watch()
    except EOFError:  # the process died before it sent anything
        result = ()
    finally:
        process.kill()
        process.join()
        receiver.close()
    if result:
        return result[0]
    raise _failure(log, start, process.exitcode)


def _run(function: Callable[..., Any], arguments: tuple, log: Path, sender: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    sender.send((function(*arguments),))  # an exception ends the process with its traceback in the log


def _end_with(parent: int) -> None:
    """Exit when the parent is gone: a killed parent cannot end its child, which would continue to write."""
    while os.getppid() == parent:
        time.sleep(_POLL)
    os._exit(1)


def _failure(log: Path, start: int, exitcode: int | None) -> Exception:
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    if "No space left" in text or "disk is full" in text:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log.parent))
    cause = f"it was ended by signal {-exitcode}, often a sign of too little memory" if exitcode and exitcode < 0 else ""
    errors = [line for line in text.splitlines() if line.startswith(("E2", "F2")) or "Error" in line] or text.splitlines()
    return ChildError("\n".join([*filter(None, [cause]), *errors[-5:], f"(all of it: {log})"]))
