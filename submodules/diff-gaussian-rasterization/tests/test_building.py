"""What CMake builds, says and refuses. Nothing is compiled but its own small test programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import diff_gaussian_rasterization as dgr
import pytest

PACKAGE = Path(__file__).resolve().parents[1]
SEARCH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
CMAKE, NINJA, NVCC = (shutil.which(tool, path=SEARCH) for tool in ("cmake", "ninja", "nvcc"))

pytestmark = pytest.mark.skipif(CMAKE is None or NINJA is None, reason="cmake and ninja are needed")


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    """Runs CMake in one build folder, as repeated installations do, with the given folders on PATH."""
    folder = tmp_path_factory.mktemp("build")
    tools = folder / "tools"
    tools.mkdir()
    for tool in ("c++", "cc", "ld", "as", "ar", "ranlib", "sh", "uname"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    nanobind = subprocess.run([sys.executable, "-m", "nanobind", "--cmake_dir"], capture_output=True, text=True, check=False)
    if nanobind.returncode:
        pytest.skip("nanobind is needed")

    def run(*options: str, path: str = "", **given: str) -> str:
        command = [
            CMAKE, "-S", PACKAGE, "-B", folder / "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}",
            f"-DPython_EXECUTABLE={sys.executable}", f"-Dnanobind_DIR={nanobind.stdout.strip()}", *options,
        ]  # fmt: skip
        variables = {k: v for k, v in os.environ.items() if k not in ("CUDACXX", "CUDA_PATH", "CUDAARCHS", "CUDAHOSTCXX")}
        done = subprocess.run(
            command, env=variables | given | {"PATH": f"{tools}{os.pathsep}{path}"}, capture_output=True, text=True, check=False
        )
        return " ".join((done.stdout + done.stderr).split())

    return run


def test_says_what_it_builds_and_searches_nvcc_again(configure):
    first = configure()
    assert "CPU backend (" in first and "scalar)" in first
    assert "no CUDA backend (GAUSSIAN_CUDA=AUTO" in first
    if NVCC is None:
        pytest.skip("no nvcc, which has to appear now")
    assert "CUDA backend, CUDA " in configure(path=str(Path(NVCC).parent) + os.pathsep + SEARCH)
    assert "no CUDA backend (GAUSSIAN_CUDA=OFF" in configure("-DGAUSSIAN_CUDA=OFF", path=SEARCH)


@pytest.mark.skipif(NVCC is None, reason="nvcc is needed")
def test_a_build_folder_forgets_the_choices_of_the_last_installation(configure):
    configure("-DGAUSSIAN_CUDA=OFF", path=SEARCH)
    assert "compute capability 86 " in configure("-DCMAKE_CUDA_ARCHITECTURES=86", path=SEARCH) + " "
    assert "compute capability 75-real 80-real" in configure(path=SEARCH)
    for architecture in ("90", "90", "86"):
        said = configure(path=SEARCH, CUDAARCHS=architecture)
        assert f"compute capability {architecture} " in said and "Error" not in said
    assert "compute capability 75-real 80-real" in configure(path=SEARCH)


def test_refuses_what_cannot_work_in_words(configure):
    assert "does not build with MSVC" in configure("-DMSVC=1")
    assert "One architecture at a time" in configure("-UMSVC", "-DCMAKE_OSX_ARCHITECTURES=arm64;x86_64")
    assert "no working nvcc was found" in configure("-UCMAKE_OSX_ARCHITECTURES", "-UCMAKE_CUDA_COMPILER", "-DGAUSSIAN_CUDA=ON")


def test_the_installed_package_says_what_was_built():
    record = dgr.build_record()
    assert dgr._C.instruction_set() in record["cpu"].split()
    assert bool(record["cuda"]) == bool(record["architectures"]) == dgr._C.has_cuda
