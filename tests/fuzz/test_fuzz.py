"""A seeded smoke run of the fuzzers. The long runs are `make fuzz`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(script: str, *arguments: str) -> str:
    """In a process of its own: memory is measured, and a crash of native code is an exit code."""
    search = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent)))
    result = subprocess.run(
        [sys.executable, HERE / script, *arguments],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        errors="replace",  # decoders of images quote the damaged bytes in what they print
        check=False,
    )
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout[-8000:]}{result.stderr[-4000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def readers() -> str:
    """What a short run over all readers prints."""
    return run("fuzz_readers.py", "--count", "2400", "--seed", "3")


def test_damaged_files_end_in_success_or_one_clear_message(readers):
    assert " 0 failures" in readers


def test_the_readers_are_given_what_they_read(readers):
    """A target whose damage is never noticed would test nothing; the run itself refuses one whose valid input is refused."""
    lines = [line.split() for line in readers.splitlines() if " refused " in line]
    assert len(lines) > 40  # of readers
    assert all(int(words[words.index("refused") - 1]) > 0 for words in lines)


def test_killed_stages_end_in_the_same_files():
    assert " 0 failures" in run("fuzz_kills.py", "--kills", "4", "--only", "train", "--seed", "2")
