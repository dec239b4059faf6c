"""Cost of the compiled CUDA kernels from their machine code. Needs nvcc, cuobjdump and nvdisasm, but no GPU.

python benchmarks/cuda_code.py [--arch 90] [--source <csrc/cuda>]

Per kernel: registers, spilled bytes, shared memory, and of the innermost loop that evaluates alpha (the one with the
exponential) the instructions per evaluation, all of them and by kind. A loop over several splats is divided by them. Both sides
of a branch inside count, so an early exit costs less than shown. For a kernel without such a loop, its length is given.
`--source` measures another checkout's kernels. cuobjdump and nvdisasm are searched on PATH and in CUDA_TOOLS (triton's wheels
bring them in triton/backends/nvidia/bin).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "submodules" / "diff-gaussian-rasterization" / "csrc" / "cuda"
KINDS = {
    "shared": ("LDS", "STS"),
    "global": ("LDG", "STG", "LD", "ST"),
    "atomic": ("RED", "REDG", "REDS", "ATOM", "ATOMG", "ATOMS"),
    "branch": ("BRA", "BSSY", "BSYNC", "CALL", "RET", "WARPSYNC", "EXIT"),
}
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(@!?U?P\d+\s+)?([A-Za-z0-9_.]+)([^;]*);")


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel."""

    name: str
    registers: int
    spilled: int  # bytes
    shared: int  # bytes of a thread block
    length: int  # instructions
    loop: Counter  # instructions of the evaluation loop by kind, per evaluation
    atomics: Counter  # instructions of the whole kernel by width in bits


def tool(name: str) -> str:
    """Path of a tool of the CUDA toolkit."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("CUDA_TOOLS", ""), os.environ.get("PATH", "")]))
    if found is None:
        sys.exit(f"error: no {name} on PATH or in CUDA_TOOLS (pip download triton --no-deps, unzip triton/backends/nvidia/bin)")
    return found


def compile_kernels(source: Path, arch: str, cubin: Path) -> dict[str, tuple[int, int, int]]:
    """Registers, spilled bytes and shared memory of each kernel by mangled name."""
    command = [tool("nvcc"), "-std=c++17", "-O3", f"-arch=sm_{arch}", "-cubin", "-Xptxas", "-v", str(source), "-o", str(cubin)]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    sizes = {}
    for block in re.split(r"Compiling entry function '", log)[1:]:
        used = re.search(r"Used (\d+) registers", block)
        spilled = re.search(r"(\d+) bytes spill stores", block)
        shared = re.search(r"(\d+) bytes smem", block)
        sizes[block.partition("'")[0]] = tuple(int(m[1]) if m else 0 for m in (used, spilled, shared))
    return sizes


def instructions_of(cubin: Path) -> dict[str, list[tuple[int, str, str]]]:
    """(address, opcode, operands) of every kernel by mangled name."""
    path = os.pathsep.join([os.environ.get("CUDA_TOOLS", ""), os.environ["PATH"]])  # cuobjdump calls nvdisasm
    listing = subprocess.run(
        [tool("cuobjdump"), "-sass", cubin], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    ).stdout
    kernels, current = {}, []
    for line in listing.splitlines():
        if "Function :" in line:
            current = kernels.setdefault(line.partition("Function :")[2].strip(), [])
        elif match := INSTRUCTION.match(line):
            current.append((int(match[1], 16), match[3], match[4]))
    return kernels


def evaluation_loop(code: list[tuple[int, str, str]]) -> tuple[list[str], int]:
    """Opcodes of the shortest loop with an exponential, and its number of exponentials."""
    loops = []
    for address, opcode, operands in code:
        target = re.search(r"0x([0-9a-f]+)", operands)
        if opcode.startswith("BRA") and target and int(target[1], 16) <= address:
            body = [op for at, op, _ in code if int(target[1], 16) <= at <= address]
            if any(op.startswith("MUFU.EX2") for op in body):
                loops.append(body)
    if not loops:
        return [], 0
    body = [op for op in min(loops, key=len) if not op.startswith("NOP")]
    return body, sum(op.startswith("MUFU.EX2") for op in body)


def kind_of(opcode: str) -> str:
    """Kind of instruction that an opcode is counted as."""
    head = opcode.partition(".")[0]
    return next((kind for kind, heads in KINDS.items() if head in heads), "arithmetic")


def atomic_width(opcode: str) -> int:
    """Bits that one lane adds."""
    if ".128" in opcode or "x4" in opcode or ".F32x4" in opcode:
        return 128
    return 64 if ".64" in opcode or "x2" in opcode else 32


def short_name(mangled: str) -> str:
    """`blend_kernel 9 1`: name and template arguments."""
    match = re.search(r"\d+([a-z][a-z_]*_kernel)((?:I?L[ib]\d+E)*)", mangled)
    if match is None:
        return ""
    return " ".join([match[1], *re.findall(r"L[ib](\d+)E", match[2])])


def kernels_of(source: Path, arch: str) -> list[Kernel]:
    """The package's kernels in a folder of CUDA sources."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(source.glob("*.cu")):
            cubin = Path(folder) / f"{file.stem}.cubin"
            sizes = compile_kernels(file, arch, cubin)
            for mangled, code in instructions_of(cubin).items():
                name = short_name(mangled)
                if not name or "cub" in mangled.partition("_kernel")[0].lower().split("gaussian")[-1]:
                    continue
                body, evaluations = evaluation_loop(code)
                loop = Counter(kind_of(op) for op in body)
                atomics = Counter(atomic_width(op) for _, op, _ in code if kind_of(op) == "atomic")
                per_evaluation = (
                    Counter({kind: count / evaluations for kind, count in loop.items()}) if evaluations else Counter()
                )
                length = sum(not op.startswith("NOP") for _, op, _ in code)
                found.append(Kernel(name, *sizes[mangled], length, per_evaluation, atomics))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="90", help="compute capability without the dot")
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the CUDA sources")
    args = parser.parse_args()
    print(
        "| kernel | registers | spilled B | shared B | instructions | per evaluation | shared | branch | atomics 32/64/128 bit |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for k in kernels_of(args.source, args.arch):
        total = f"{sum(k.loop.values()):.1f}" if k.loop else ""
        parts = [f"{k.loop[kind]:.1f}" if k.loop else "" for kind in ("shared", "branch")]
        atomics = "/".join(str(k.atomics[bits]) for bits in (32, 64, 128)) if k.atomics else ""
        cells = [k.name, k.registers, k.spilled, k.shared, k.length, total, *parts, atomics]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
