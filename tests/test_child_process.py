"""A step in its own process: results come back, failures come with their reason."""

import errno
import os
import signal
import sys
import time

import pytest

from conversion.child_process import ChildError, run_in_child


def double(x: int) -> int:
    sys.stderr.write("native chatter\n")
    return 2 * x


def fail(text: str) -> None:
    sys.stdout.flush()
    os.write(2, text.encode())
    raise RuntimeError("it broke")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_result_comes_back_and_output_goes_to_the_log(tmp_path, capfd):
    log = tmp_path / "a" / "log"
    assert run_in_child(double, 21, log=log, watch=lambda: None) == 42
    assert "native chatter" in log.read_text() and "chatter" not in "".join(capfd.readouterr())


def test_failures_carry_their_reason(tmp_path):
    with pytest.raises(ChildError, match=r"RuntimeError: it broke(.|\n)*log"):
        run_in_child(fail, "", log=tmp_path / "log", watch=lambda: None)
    with pytest.raises(ChildError, match="signal 9, often a sign of too little memory"):
        run_in_child(die, log=tmp_path / "log", watch=lambda: None)


@pytest.mark.parametrize("message", ["SQLite error: database or disk is full\n", "No space left on device\n"])
def test_full_disk_is_told_apart(tmp_path, message):
    with pytest.raises(OSError) as error:
        run_in_child(fail, message, log=tmp_path / "log", watch=lambda: None)
    assert error.value.errno == errno.ENOSPC


def test_interruption_takes_the_child_along(tmp_path):
    def interrupt() -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_in_child(time.sleep, 60, log=tmp_path / "log", watch=interrupt)
    assert time.monotonic() - start < 30  # did not wait for it
