"""benchmarks/gpu.sh with stand-ins for Python and NVIDIA's tools: every step ends, leaves its output, and the next ones run."""

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What the script starts as Python: pip makes the folder it installs into, the benchmark writes a row, tests of "broken" fail.
PYTHON = f"""#!{sys.executable}
import json, os, subprocess, sys
args = sys.argv[1:]
if args[0] == "-":
    sys.exit(subprocess.run([sys.executable, *args]).returncode)
if args[0] == "-c" and "get_device_capability" in args[1]:
    print("90")
elif "pip" in args and os.environ.get("REFUSE") == "pip":
    sys.exit(1)
elif "pip" in args:
    os.makedirs(args[args.index("--target") + 1], exist_ok=True)
    print("architecture", os.environ["CUDAARCHS"], args[-1])
elif "pytest" in args:
    sys.exit(1 if any("broken" in a for a in args) else 0)
elif "tables" in args:
    site = os.environ["PYTHONPATH"].split(":")[0]
    time = {{"site-quick": 1.0, "site-broken": 0.1}}.get(os.path.basename(site), 2.0)
    with open(args[-1], "a") as file:
        file.write(json.dumps({{"task": "forward", "ours": {{"events": time}}}}) + "\\n")
    print("tables on", os.path.basename(site) + (", without the peer" if "--no-peer" in args else ""))
"""


@pytest.fixture
def run(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()

    def stand_in(name: str, text: str) -> None:
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)

    stand_in("fake_python", PYTHON)
    for name, text in {
        "nvidia-smi": "echo a GPU",
        "nvcc": "echo release",
        "ncu": "sleep 60",
        "compute-sanitizer": "exit 9",
    }.items():
        stand_in(name, f"#!/bin/sh\n{text}\n")
    for variant in ("quick", "broken"):
        (tmp_path / "variants" / variant / "submodules").mkdir(parents=True)

    def call(*steps: str, limit: int = 60, **extra: str):
        variables = {
            **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": str(tools / "fake_python"), "LIMIT": str(limit),
            "RESULTS": str(tmp_path / "out"), "WORK": str(tmp_path / "work"), "VARIANTS": str(tmp_path / "variants"), **extra,
        }  # fmt: skip
        command = [ROOT / "benchmarks" / "gpu.sh", *steps]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        status = (tmp_path / "out" / "status.txt").read_text().splitlines()
        return done, {line.split("\t")[0]: int(line.split("\t")[1]) for line in status}

    return call, tmp_path / "out"


def test_builds_tests_and_measures_every_checkout_and_the_winner_again(run):
    call, out = run
    done, status = call("build", "tests", "tables", "variants", "winner")
    assert done.returncode == 1  # the broken variant's tests
    wanted = {"build": 0, "tests": 0, "tables": 0, "build-quick": 0, "tests-quick": 0, "tables-quick": 0, "tests-broken": 1}
    assert {name: status.get(name) for name in wanted} == wanted
    assert "architecture 90" in (out / "build.txt").read_text()
    # The broken one is the fastest and does not count.
    assert (out / "winner.txt").read_text().strip().endswith("tables on site-quick")
    assert json.loads((out / "tables.jsonl").read_text())["ours"]["events"] == 2.0


def test_a_step_that_hangs_or_fails_does_not_end_the_run(run):
    call, out = run
    (out.parent / "work" / "site").mkdir(parents=True)
    done, status = call("sanitize", "ncu", "tables", limit=1)
    assert done.returncode == 1
    assert status["memcheck"] == status["racecheck"] == 9
    assert status["ncu"] == 124
    assert status["tables"] == 0 and (out / "tables.txt").read_text().startswith("tables on site")


def test_a_peer_that_still_compiles_is_left_out_and_a_failed_build_keeps_the_last(run):
    call, out = run
    work = out.parent / "work"
    call("build", "tables")
    with (work / "peer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, status = call("tables", PEER_WAIT="0")
    assert done.returncode == 0 and status["tables"] == 0
    assert "without the peer" in (out / "tables.txt").read_text()
    assert len((out / "tables.jsonl").read_text().splitlines()) == 1
    (work / "site" / "kept").touch()
    done, status = call("build", "tables", REFUSE="pip")
    assert status["build"] == 1 and status["tables"] == 0 and (work / "site" / "kept").exists()
    with tarfile.open(f"{out}.tar.gz") as archive:
        assert "out/status.txt" in archive.getnames()


def test_a_step_without_a_build_says_so(run):
    call, out = run
    done, status = call("tests")
    assert status["tests"] == 1 and "run the step build" in (out / "tests.txt").read_text()


def test_the_last_run_of_its_tests_counts_for_a_build(run):
    call, out = run
    call("build", "tests", "tables", "variants")
    (out / "status.txt").write_text((out / "status.txt").read_text() + "tests-quick\t1\t3\n")
    call("winner")
    assert (out / "winner.txt").read_text().strip().endswith("tables on site")


def test_the_kernels_it_looks_at_exist():
    script = (ROOT / "benchmarks" / "gpu.sh").read_text(encoding="utf-8")
    sources = ROOT / "submodules" / "diff-gaussian-rasterization" / "csrc" / "cuda"
    text = "".join(file.read_text(encoding="utf-8") for file in sources.glob("*.cu"))
    kernels = [name for line in script.splitlines() if line.startswith("kernels=") for name in re.findall(r"\w+_kernel", line)]
    assert len(kernels) == 7 and all(f" {kernel}(" in text for kernel in kernels)
