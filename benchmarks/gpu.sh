#!/usr/bin/env bash
# Builds both native packages for the GPU of this machine, runs the GPU tests, then the GPU benchmarks.
#
#   benchmarks/gpu.sh [table]        table: where to keep a copy of the printed tables (default: build/gpu_benchmarks.txt)
#
# Needs no network: torch, numpy, pytest, jaxtyping, nanobind, scikit-build-core, cmake, ninja and nvcc must be there.
# PYTHON chooses the interpreter (default python3). gsplat is measured beside ours when it can be imported.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
table="${1:-build/gpu_benchmarks.txt}"
mkdir -p "$(dirname "$table")"

"$PYTHON" - <<'CHECK'
import importlib.util
import shutil
import sys

missing = [m for m in ("torch", "numpy", "pytest", "jaxtyping", "nanobind", "scikit_build_core") if importlib.util.find_spec(m) is None]
missing += [tool for tool in ("cmake", "ninja", "nvcc") if shutil.which(tool) is None]
if missing:
    sys.exit(f"error: not found: {', '.join(missing)}")
import torch

if not torch.cuda.is_available():
    sys.exit("error: torch sees no CUDA device; these tests and benchmarks are for a GPU")
CHECK

site="$PWD/build/gpu_site"
rm -rf "$site"
CUDAARCHS="$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')"
export CUDAARCHS
"$PYTHON" -m pip install --no-build-isolation --no-index --no-deps --target "$site" \
  -C cmake.define.GAUSSIAN_CUDA=ON ./submodules/diff-gaussian-rasterization
"$PYTHON" -m pip install --no-build-isolation --no-index --no-deps --target "$site" \
  -C cmake.define.SIMPLE_KNN_CUDA=ON ./submodules/simple-knn
export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"

status=0
"$PYTHON" -m pytest -q -m gpu submodules/diff-gaussian-rasterization/tests/test_gpu.py submodules/simple-knn/tests/test_simple_knn.py || status=$?
"$PYTHON" benchmarks/gpu_rasterizer.py | tee "$table" || status=$?
exit "$status"
