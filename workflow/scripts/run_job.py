"""Starts one command of a job: never twice at a time, and on one GPU of this machine if GPUs are given. Standard library only.

    python run_job.py --lock job.lock [--gpus 0,1,2,3 --wanted 1] -- python train.py ...

The locks are held by the command's own process and vanish with it, however it ends. A driver that was killed leaves its jobs
running on the cluster; a job that the next driver submits waits here until the first has ended, and continues from its
results.
"""

import argparse
import errno
import fcntl
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

POLL = 0.5  # seconds


def main(arguments: Sequence[str]) -> None:
    """Take the locks, say what is run, and become the command."""
    parser = argparse.ArgumentParser(description="Run one command alone, on one GPU if there are several.")
    parser.add_argument("--lock", type=Path, required=True, help="file that is locked while the command runs")
    parser.add_argument("--gpus", help="devices of this machine, separated by commas, to share among jobs")
    parser.add_argument("--wanted", type=int, default=0, help="with --gpus: 1 waits for one of them, 0 hides all of them")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command")
    hold(options.lock, _say)
    environment = dict(os.environ)
    if options.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = take_gpu(options.gpus.split(",")) if options.wanted else ""
        _say(f"GPU {environment['CUDA_VISIBLE_DEVICES'] or 'none'}")
    _say(f"+ {shlex.join(command)}")
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        _say(f"error: {command[0]}: {error.strerror}; the setting `python` names the Python that `make install` makes")
        sys.exit(127)


def hold(path: Path, say: Callable[[str], None]) -> None:
    """Lock a file until this process, or the command that it becomes, has ended; waits for whoever holds it."""
    if _try_lock(path):
        return
    say(f"{path} is held: the same job is still running, most likely started by a driver that was killed. Waiting for its end.")
    while not _try_lock(path):
        time.sleep(POLL)


def take_gpu(devices: Sequence[str], folder: Path | None = None) -> str:
    """A device of the list that no other job on this machine holds; waits until there is one. Held as by `hold`."""
    folder = folder or Path(tempfile.gettempdir()) / f"gpu-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        for device in devices:
            if _try_lock(folder / f"{device.strip().replace('/', '_')}.lock"):
                return device.strip()
        time.sleep(POLL)


def _try_lock(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        _say(f"warning: {path} cannot be locked ({error.strerror}); do not run two drivers on one output folder.")
        return True
    os.set_inheritable(file, True)  # stays open and locked in the command
    return True


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
