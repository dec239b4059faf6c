"""A seeded smoke run of `fuzz_calls.py`, in a process of its own: a crash of native code is an exit code."""

import subprocess
import sys
from pathlib import Path


def test_random_calls_return_or_raise_one_clear_error():
    script = Path(__file__).with_name("fuzz_calls.py")
    result = subprocess.run([sys.executable, script, "--count", "300"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout[-6000:]}{result.stderr[-2000:]}"
    assert "300 calls" in result.stdout and " 0 failures" in result.stdout
