"""The whole package with its CUDA backend on the host: `_C` compiled with the kernels of csrc/cuda against tests/emulation.

Unlike emulated_cuda.py, which calls the kernels through ctypes, this goes through the binding and the package's Python.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nanobind

PACKAGE = Path(__file__).resolve().parents[1]
EMULATION = PACKAGE / "tests" / "emulation"
NANOBIND = Path(nanobind.source_dir())
RECORD = {"CPU": "emulated", "OPENMP": "", "CUDA": "emulated", "ARCHITECTURES": "emulated", "COMPILER": "emulated"}
COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-DGAUSSIAN_CUDA", "-DNDEBUG"]


def build(cache: Path) -> Path:
    """A folder with the package, for the import path; compiled unless `cache` has it from the same sources."""
    portable = [file for file in sorted((PACKAGE / "csrc").glob("**/*.cpp")) if not re.search("avx|neon", file.stem)]
    sources = [*portable, *sorted((PACKAGE / "csrc" / "cuda").glob("*.cu"))]
    headers = sorted([*(PACKAGE / "csrc").glob("**/*.h"), *EMULATION.glob("**/*.*")])
    inputs = [Path(__file__), *sources, *headers]  # this file has the options
    folder = cache / f"extension_{_digest(inputs, nanobind.__version__)}"
    module = folder / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not module.exists():
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f'#define GAUSSIAN_BUILT_{name} "{value}"' for name, value in RECORD.items()]
        (folder / "build_record.h").write_text("\n".join(lines) + "\n")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda source: _compile(source, folder), [*sources, NANOBIND / "nb_combined.cpp"]))
        partial = folder / "partial.so"
        subprocess.run([_compiler(), "-shared", *objects, "-o", partial], check=True)
        partial.replace(module)
    site = folder / f"site_{_digest(sorted((PACKAGE / 'diff_gaussian_rasterization').glob('*.py')))}"
    if not site.exists():
        partial = Path(tempfile.mkdtemp(dir=folder))
        sources = PACKAGE / "diff_gaussian_rasterization"
        shutil.copytree(sources, partial / sources.name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(module, partial / sources.name)
        partial.replace(site)
    return site


def _digest(files: list[Path], more: str = "") -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + more.encode()).hexdigest()[:16]


def _compiler() -> str:
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        raise RuntimeError("no C++ compiler")
    return found


def _compile(source: Path, folder: Path) -> Path:
    target = folder / f"{source.parent.name}_{source.stem}.o"
    flags = ["-O2", "-ffp-contract=off", "-fno-math-errno"]
    if source.suffix == ".cu":
        flags = ["-O1", "-U_FORTIFY_SOURCE", f"-I{EMULATION}", "-x", "c++"]
    elif source.is_relative_to(NANOBIND):
        flags = ["-O1", "-fno-strict-aliasing", "-w"]
    includes = [f"-I{folder}", f"-I{NANOBIND.parent / 'ext' / 'robin_map' / 'include'}", f"-I{nanobind.include_dir()}"]
    python = f"-I{sysconfig.get_path('include')}"
    subprocess.run([_compiler(), *COMMON, *flags, *includes, python, "-c", source, "-o", target], check=True)
    return target
