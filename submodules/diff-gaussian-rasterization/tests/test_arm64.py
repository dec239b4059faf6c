"""The NEON kernels against the scalar ones, compiled for arm64 and run by an emulator. No arm64 machine is needed.

Debian, Ubuntu: apt install g++-aarch64-linux-gnu qemu-user. Correctness only: an emulator says nothing about speed.
"""

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
NATIVE = platform.machine() in ("aarch64", "arm64")
COMPILER = shutil.which("c++" if NATIVE else "aarch64-linux-gnu-g++")
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")

pytestmark = pytest.mark.skipif(
    COMPILER is None or not (NATIVE or EMULATOR), reason="aarch64-linux-gnu-g++ and qemu-aarch64 are needed"
)


def test_neon_agrees_with_scalar_code_for_any_number_of_threads(tmp_path):
    sources = [PACKAGE / "tests" / "native" / "instruction_sets.cpp"]
    sources += [p for p in sorted((PACKAGE / "csrc" / "cpu").glob("*.cpp")) if "avx" not in p.name]
    options = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-math-errno", "-fopenmp", "-DGAUSSIAN_ARM64", f"-I{PACKAGE}/csrc"]

    def compile_one(source: Path) -> Path:
        compiled = tmp_path / f"{source.stem}.o"
        subprocess.run([COMPILER, *options, "-c", source, "-o", compiled], check=True)
        return compiled

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sources))
    program = tmp_path / "instruction_sets"
    subprocess.run([COMPILER, "-fopenmp", *([] if NATIVE else ["-static"]), *objects, "-o", program], check=True)
    run = [program] if NATIVE else [EMULATOR, program]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=os.environ | {"OMP_WAIT_POLICY": "passive"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "neon: gradient of means" in done.stdout
