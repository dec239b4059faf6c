#!/usr/bin/env bash
# Everything there is to do with the rasterizer on a GPU, in one go: builds, tests, checks with the sanitizer, tables, profiles.
#
#   benchmarks/gpu.sh [step...]      all steps in order, or those named:
#     facts      the device, the driver, the toolkit, the packages
#     build      both native packages for this GPU; gsplat, where it is at hand, compiles its kernels in the background
#     tests      the tests marked gpu
#     sanitize   compute-sanitizer memcheck and racecheck over every kernel on a small scene
#     tables     benchmarks/gpu_rasterizer.py, the measured tables
#     ncu        Nsight Compute, the full set on every launch of seven kernels
#     profile    a trace by torch's profiler, for gaps between kernels
#     product    the product's tests marked gpu, then demo.py: a toy world from photographs to answers
#     variants   every folder of VARIANTS, another checkout of the packages: build, test, tables
#     winner     the tables of the fastest that passed its tests once more
#
# Every step has a time limit and may fail without ending the run; its output is kept as it comes in RESULTS/<step>.txt, and
# RESULTS/status.txt gets a line (step, exit code, seconds) when it ends; RESULTS.tar.gz has all of RESULTS as of the last step.
# Calling again with other steps goes on with the same builds and results. Where a call may take ten minutes at most:
#   benchmarks/gpu.sh facts build;  tests tables;  ncu profile sanitize;  product;  variants;  winner
#
# RESULTS   where results go (default build/gpu/results): small files, to be copied away
# WORK      where builds go, which the next steps use (default build/gpu)
# PYTHON    the interpreter (default python3); torch with CUDA, numpy and scipy must be installed for it, for product everything in
#           requirements.txt
# WHEELS    a folder of wheels for machines without a network: of scikit-build-core, nanobind, cmake, ninja, pytest, jaxtyping,
#           rich and gsplat those that are not installed, with what they need. Without it, what is installed is used.
# VARIANTS  a folder of checkouts (default build/gpu_variants), each with submodules/ as here
# LIMIT     seconds for every step instead of its own limit
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
WORK="${WORK:-build/gpu}"
RESULTS="${RESULTS:-build/gpu/results}"
VARIANTS="${VARIANTS:-build/gpu_variants}"
mkdir -p "$WORK" "$RESULTS"
WORK="$(cd "$WORK" && pwd)"
RESULTS="$(cd "$RESULTS" && pwd)"
site="$WORK/site"
peer="$WORK/peer"
failed=0

# step <name> <seconds> <command...>: runs it under its limit, shows and keeps its output.
step() {
  local name="$1" limit="${LIMIT:-$2}" begin=$SECONDS code
  shift 2
  echo "== $name (at most $limit s)"
  timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$RESULTS/$name.txt"
  code="${PIPESTATUS[0]}"
  printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - begin))" >>"$RESULTS/status.txt"
  tar -czf "$RESULTS.tar.gz.new" -C "$(dirname "$RESULTS")" "$(basename "$RESULTS")" && mv "$RESULTS.tar.gz.new" "$RESULTS.tar.gz"
  if [ "$code" -ne 0 ]; then
    failed=1
    echo "== $name: exit code $code"
  fi
  return "$code"
}

facts() {
  nvidia-smi
  nvcc --version
  "$PYTHON" - <<'PY'
import importlib.util
import sys

import torch

print("python", sys.version.split()[0], "torch", torch.__version__, "CUDA", torch.version.cuda)
if not torch.cuda.is_available():
    sys.exit("error: torch sees no CUDA device; these tests and benchmarks are for a GPU")
print(torch.cuda.get_device_properties(0))
missing = [m for m in ("numpy", "scipy", "pytest", "jaxtyping", "nanobind", "scikit_build_core") if importlib.util.find_spec(m) is None]
print("not installed:", ", ".join(missing) or "nothing")
PY
}

# provide <folder> <package:module...>: installs the packages whose module is missing from the wheels, if there are any.
provide() {
  local folder="$1" pair missing=()
  shift
  for pair in "$@"; do
    "$PYTHON" -c "import importlib.util as u, sys; sys.exit(u.find_spec('${pair#*:}') is None)" || missing+=("${pair%:*}")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  [ -n "${WHEELS:-}" ] || { echo "not installed: ${missing[*]}; set WHEELS" >&2; return 1; }
  "$PYTHON" -m pip install --quiet --no-index --find-links "$WHEELS" --target "$folder" --upgrade "${missing[@]}"
}

# build_packages <checkout> <site>
build_packages() {
  local architecture package
  architecture="$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')" || return
  rm -rf "$2.new"
  provide "$WORK/tools" scikit-build-core:scikit_build_core nanobind:nanobind cmake:cmake ninja:ninja pytest:pytest \
    jaxtyping:jaxtyping || return
  for package in diff-gaussian-rasterization:GAUSSIAN_CUDA simple-knn:SIMPLE_KNN_CUDA; do
    PATH="$WORK/tools/bin:$PATH" PYTHONPATH="$WORK/tools${PYTHONPATH:+:$PYTHONPATH}" CUDAARCHS="$architecture" \
      "$PYTHON" -m pip install --no-build-isolation --no-index --no-deps --target "$2.new" \
      -C "cmake.define.${package#*:}=ON" "$1/submodules/${package%:*}" || return
  done
  rm -rf "$2" && mv "$2.new" "$2"  # whatever fails, the last build that worked stays
}

# torch compiles for the GPU at hand, and again if a later import finds other options.
compile_peer() {
  provide "$peer" gsplat:gsplat rich:rich ninja:ninja jaxtyping:jaxtyping || return
  PATH="$peer/bin:$PATH" PYTHONPATH="$peer:$WORK/tools${PYTHONPATH:+:$PYTHONPATH}" MAX_JOBS="$(nproc)" \
    "$PYTHON" -c 'from gsplat.cuda._backend import _C; assert _C is not None'
}

# with_site <site> <command...>: runs it on the packages of that folder.
with_site() {
  local folder="$1"
  shift
  [ -d "$folder" ] || { echo "nothing was built in $folder: run the step build" >&2; return 1; }
  PYTHONPATH="$folder:$WORK/tools:$peer${PYTHONPATH:+:$PYTHONPATH}" PATH="$peer/bin:$PATH" "$@"
}

gpu_tests() { # <checkout> <site>
  local rasterizer="$1/submodules/diff-gaussian-rasterization"
  with_site "$2" "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider --rootdir "$rasterizer" "$rasterizer/tests/test_gpu.py" \
    "$1/submodules/simple-knn/tests/test_simple_knn.py"
}

sanitize() { # <tool>
  with_site "$site" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$1" --error-exitcode 9 \
    "$PYTHON" benchmarks/gpu_rasterizer.py once --small
}

tables() { # <site> <results>
  # The peer may still be compiling; without its lock, nobody compiles. A third of the limit is enough to wait.
  local peerless=()
  if [ -e "$WORK/peer.lock" ] && ! flock -w "${PEER_WAIT:-80}" "$WORK/peer.lock" true; then peerless=(--no-peer); fi
  rm -f "$2"
  with_site "$1" "$PYTHON" benchmarks/gpu_rasterizer.py tables ${peerless[@]+"${peerless[@]}"} --results "$2"
}

kernels="project_kernel|write_pairs_kernel|blend_kernel|blend_many_kernel|feature_backward_kernel|feature_backward_many_kernel"
kernels="$kernels|splat_backward_kernel"

profile_kernels() {
  with_site "$site" ncu --set full --clock-control none --kernel-name "regex:(^|:)($kernels)$" "$PYTHON" \
    benchmarks/gpu_rasterizer.py once
}

product() {
  "$PYTHON" - requirements.txt <<'PY' || return
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

missing = []
for line in Path(sys.argv[1]).read_text().splitlines():
    name = line.split("#")[0].split(">")[0].split("<")[0].split("=")[0].split("[")[0].split(";")[0].strip()
    if name and not name.startswith(("-", ".")):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
if missing:
    sys.exit(f"not installed, and the product needs it: {' '.join(missing)}")
PY
  with_site "$site" "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider tests
  local code=$?
  with_site "$site" "$PYTHON" demo.py --model_path "$WORK/demo" && return "$code"
}

# The checkout whose tables are the fastest: the smallest sum of times between events over the rows that all of them have.
fastest() {
  "$PYTHON" - "$RESULTS" <<'PY'
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])
codes = dict(line.split("\t")[:2] for line in (out / "status.txt").read_text().splitlines())  # of each step's last run
passed = {step for step, code in codes.items() if code == "0"}
tables = {}
for file in sorted(out.glob("tables*.jsonl")):
    name = file.stem.removeprefix("tables").removeprefix("-")
    if (f"tests-{name}" if name else "tests") in passed:
        tables[name] = {row["task"]: row["ours"]["events"] for row in map(json.loads, file.read_text().splitlines())}
common = set.intersection(*map(set, tables.values())) if tables else set()
if not common:
    sys.exit("error: no tables of a build that passed its tests")
sums = {name: sum(rows[task] for task in common) for name, rows in tables.items()}
for name, total in sorted(sums.items(), key=lambda item: item[1]):
    print(f"{total:10.3f} ms over {len(common)} rows: {name or 'this checkout'}", file=sys.stderr)
print(min(sums, key=sums.get))
PY
}

run() {
  case "$1" in
    facts) step facts 60 facts ;;
    build)
      # In a session of its own: it goes on beside the next steps. The tables wait for it.
      timeout="${LIMIT:-420}" setsid flock "$WORK/peer.lock" bash -c \
        'command timeout --kill-after=10 "$timeout" bash -c compile_peer' >"$RESULTS/peer.txt" 2>&1 </dev/null &
      step build 420 build_packages "$PWD" "$site"
      ;;
    tests) step tests 240 gpu_tests "$PWD" "$site" ;;
    sanitize)
      for tool in memcheck racecheck; do step "$tool" 120 sanitize "$tool"; done
      ;;
    tables) step tables 240 tables "$site" "$RESULTS/tables.jsonl" ;;
    ncu) step ncu 240 profile_kernels ;;
    profile) step profile 90 with_site "$site" "$PYTHON" benchmarks/gpu_rasterizer.py profile --results "$RESULTS/trace.json" ;;
    product) step product 420 product ;;
    variants)
      for folder in "$VARIANTS"/*/; do
        [ -d "$folder/submodules" ] || continue
        local name
        name="$(basename "$folder")"
        step "build-$name" 300 build_packages "$folder" "$WORK/site-$name" || continue
        step "tests-$name" 180 gpu_tests "$folder" "$WORK/site-$name"
        step "tables-$name" 180 tables "$WORK/site-$name" "$RESULTS/tables-$name.jsonl"
      done
      ;;
    winner)
      local best
      best="$(fastest)" || { failed=1; return; }
      step winner 240 tables "$site${best:+-$best}" "$RESULTS/winner.jsonl"
      ;;
    *)
      echo "error: no step $1; see the first lines of $0" >&2
      exit 2
      ;;
  esac
}

export -f facts provide build_packages compile_peer with_site gpu_tests sanitize tables profile_kernels product
export PYTHON WORK RESULTS site peer WHEELS kernels
# `timeout` runs programs, not functions: each step's function runs in a shell of its own.
timeout() { command timeout "$1" "$2" bash -c '"$@"' step "${@:3}"; }

[ "$#" -gt 0 ] || set -- facts build tests tables ncu profile sanitize product variants winner
for name in "$@"; do run "$name"; done
echo "== results in $RESULTS and $RESULTS.tar.gz"
cat "$RESULTS/status.txt" 2>/dev/null
exit "$failed"
