#!/bin/sh
# Builds the CPU code with the address and undefined-behaviour sanitizers and runs the tests on it, on every code path that the
# processor has.
# Takes a few minutes and leaves the installed package alone. PYTHON chooses the interpreter, FUZZ_CALLS the number of random calls.
set -eu
package=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tools=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
PATH="$tools:$PATH" cmake -S "$package" -B "$work/build" -G Ninja -DGAUSSIAN_CUDA=OFF -DGAUSSIAN_SANITIZE=address,undefined \
  -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
  -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" >/dev/null
PATH="$tools:$PATH" cmake --build "$work/build" -j "${JOBS:-2}"
cp -r "$package/diff_gaussian_rasterization" "$work/"
cp "$work"/build/_C*.so "$work/diff_gaussian_rasterization/"

# Python itself is not instrumented: load the runtime first, and let it keep what it never frees.
runtime=$("${CXX:-g++}" -print-file-name=libasan.so):$("${CXX:-g++}" -print-file-name=libstdc++.so)
for isa in $("$python" -c 'from diff_gaussian_rasterization import _C; print(*_C.instruction_sets())'); do
  DIFF_GAUSSIAN_RASTERIZATION_ISA=$isa LD_PRELOAD="$runtime" ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH="$work" PYTHONDONTWRITEBYTECODE=1 \
    "$python" -m pytest -q --capture=no -p no:cacheprovider -m "not gpu" -k "not opcheck" --rootdir "$package" "$package"/tests/test_rasterize.py \
    "$package"/tests/test_prepared.py "$package"/tests/test_backends.py "$package"/tests/test_harmonics.py \
    "$package"/tests/test_drop_in.py "$package"/tests/test_refusals.py "$package"/tests/test_lift_operator.py
  DIFF_GAUSSIAN_RASTERIZATION_ISA=$isa LD_PRELOAD="$runtime" ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH="$work" PYTHONDONTWRITEBYTECODE=1 \
    "$python" "$package"/tests/fuzz_calls.py --count "${FUZZ_CALLS:-300}"
done
