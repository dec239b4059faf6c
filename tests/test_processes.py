"""Worker processes and who ends them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from workspace.processes import begin_worker
if __name__ == "__main__":
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), begin_worker) as pool:
        print(*{future.result() for future in [pool.submit(os.getpid) for _ in range(20)]}, flush=True)
        time.sleep(60)
"""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_workers_of_a_killed_process_end(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert workers
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, workers))
