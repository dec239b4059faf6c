"""The kernels of the rasterizer on the CPU under the roofline of one core, as a picture.

    python -m benchmarks.cpu_roofline [--picture docs/roofline.svg] [--repeats 5]

Measured here, on one thread: the core's peak of fused multiply-adds and its memory bandwidth (cpu_peaks.cpp, compiled with -O3
-march=native), and the kernels on the random scene of 1,000,000 Gaussians. Operations are counted: 27 for an evaluation of alpha
(quadratic form, exponential, transmittance), 2 per channel and evaluation in the forward pass and as many in the backward pass.
Bytes are those that have to cross the memory at least once: 32 per pair, the features' rows, the images, gradient slots, and
kept weights. A kernel's height over its bytes per operation shows which roof it is under.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from diff_gaussian_rasterization import _C, PreparedView, set_weight_budget, set_weight_precision
from diff_gaussian_rasterization.kept_weights import DEFAULT_BUDGET
from torch import Tensor

from benchmarks.cpu_rasterizer import work_of
from benchmarks.cpu_scenes import Scene, compiled, measure, step, table

EVALUATION = 27  # floating-point operations of one evaluation of alpha and its blending weight
WIDTH, HEIGHT, LEFT, BOTTOM = 860, 460, 70, 50  # of the picture, pixels


@dataclass
class Config:
    """What to draw."""

    picture: Path = Path("docs/roofline.svg")
    """File to write."""
    repeats: int = 5
    """The best of this many calls counts."""


@dataclass
class Kernel:
    """One point of the picture."""

    name: str
    operations: float
    bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.bytes

    @property
    def rate(self) -> float:
        """Operations per nanosecond."""
        return self.operations / self.seconds / 1e9


def peaks() -> tuple[float, float]:
    """(G operations/s, GB/s) of one core: 10 independent chains of multiply-adds, and a copy of 256 MB."""
    functions = compiled("cpu_peaks.cpp", "-march=native")
    for function in (functions.multiply_adds, functions.copied_bytes):
        function.restype = ctypes.c_double
    return tuple(max(function() for _ in range(5)) / 1e9 for function in (functions.multiply_adds, functions.copied_bytes))


def kernels(scene: Scene, repeats: int) -> list[Kernel]:
    """The passes over a prepared view, one thread."""
    torch.set_num_threads(1)
    set_weight_budget(0)
    view, found = scene.prepared(), []
    pairs, evaluations, _ = work_of(view).sum(0).tolist()
    for channels in (3, 9, 16):
        features = scene.features(channels)
        image, rows = 4.0 * channels * scene.pixels, 4.0 * channels * pairs
        forward = measure(partial(view.rasterize, features.detach()), repeats).cpu / 1e3
        found.append(
            Kernel(f"forward, C = {channels}", evaluations * (EVALUATION + 2 * channels), 32 * pairs + rows + image, forward)
        )

    def train(view: PreparedView, features: Tensor, gradient: Tensor) -> None:
        step(lambda f: view.rasterize(f).image, features, gradient, [])

    features, gradient = scene.features(9), scene.image_gradient(9)
    image, rows = 4.0 * 9 * scene.pixels, 4.0 * 9 * pairs
    moved = 2 * image + 3 * rows + 4.0 * 9 * len(scene.gaussians)  # rows: read, gradient slots written and read
    seconds = measure(partial(train, view, features, gradient), repeats).cpu / 1e3
    operations = 2 * evaluations * (EVALUATION + 18)
    found.append(Kernel("forward + backward, C = 9", operations, moved + 2 * 32 * pairs, seconds))
    set_weight_budget(DEFAULT_BUDGET)
    for bits in (32, 16):
        set_weight_precision(bits)
        view = scene.prepared()
        train(view, features, gradient)
        train(view, features, gradient)  # keeps the weights
        seconds = measure(partial(train, view, features, gradient), repeats).cpu / 1e3
        found.append(Kernel(f"the same, {bits}-bit weights kept", 2 * evaluations * 18, moved + 2 * view.kept_nbytes, seconds))
    return found


def draw(found: list[Kernel], peak: float, bandwidth: float) -> str:
    """The picture as SVG: logarithmic axes, operations per byte against G operations/s."""
    low_x, high_x, low_y, high_y = 0.25, 256.0, 1.0, 2 ** math.ceil(math.log2(peak) + 0.3)

    def place(intensity: float, rate: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 20) * math.log(intensity / low_x) / math.log(high_x / low_x)
        y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 20) * math.log(rate / low_y) / math.log(high_y / low_y)
        return x, y

    def text(x: float, y: float, words: str, anchor: str = "start") -> str:
        return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">'
    ]
    lines.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for power in range(math.ceil(math.log2(low_x)), math.floor(math.log2(high_x)) + 1, 2):
        x, y = place(2.0**power, low_y)
        lines += [f'<path d="M{x:.0f} {y:.0f}V20" stroke="#ddd"/>', text(x, y + 18, f"{2.0**power:g}", "middle")]
    for power in range(math.floor(math.log2(high_y)) + 1):
        x, y = place(low_x, 2.0**power)
        lines += [f'<path d="M{x:.0f} {y:.0f}H{WIDTH - 20}" stroke="#ddd"/>', text(x - 8, y + 4, f"{2**power}", "end")]
    lines.append(text(WIDTH / 2, HEIGHT - 12, "operations per byte of memory traffic", "middle"))
    lines.append(f'<g transform="translate(20 {HEIGHT / 2}) rotate(-90)">{text(0, 0, "G operations/s, one core", "middle")}</g>')
    corner = place(peak / bandwidth, peak)
    start, end = place(low_x, low_x * bandwidth), place(high_x, peak)
    path = " ".join(f"{x:.0f},{y:.0f}" for x, y in (start, corner, end))
    lines.append(f'<polyline points="{path}" fill="none" stroke="black" stroke-width="2"/>')
    lines.append(text(end[0], end[1] - 8, f"multiply-adds: {peak:.0f} G operations/s", "end"))
    lines.append(text(start[0] + 110, start[1] - 12, f"memory: {bandwidth:.1f} GB/s"))
    for number, kernel in enumerate(found, 1):
        x, y = place(kernel.intensity, kernel.rate)
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#c33"/>', text(x + 7, y + 4, str(number))]
        share = 100 * kernel.rate / min(peak, bandwidth * kernel.intensity)
        words = f"{number}  {kernel.name}: {kernel.rate:.0f} G operations/s, {share:.0f} % of its roof"
        lines.append(text(LEFT + 330, HEIGHT - BOTTOM - 20 - 17 * (len(found) - number), words))
    return "\n".join([*lines, "</svg>\n"])


def main(config: Config) -> None:
    """Measure, print the table and write the picture."""
    peak, bandwidth = peaks()
    print(f"{_C.instruction_set()} path, one core: {peak:.0f} G operations/s of multiply-adds, {bandwidth:.1f} GB/s copied")
    found = kernels(Scene.random(1_000_000, 0.006), config.repeats)
    rows = []
    for kernel in found:
        roof = min(peak, bandwidth * kernel.intensity)
        sizes = [1e3 * kernel.seconds, kernel.operations / 1e9, kernel.bytes / 1e6, kernel.intensity, kernel.rate]
        rows.append([kernel.name, *sizes, 100 * kernel.rate / peak, 100 * kernel.rate / roof])
    head = ["kernel", "CPU ms", "G operations", "MB", "operations / byte", "G operations/s", "% of peak", "% of its roof"]
    table("Roofline, prepared view, one thread", head, rows)
    config.picture.write_text(draw(found, peak, bandwidth))


if __name__ == "__main__":
    main(tyro.cli(Config))
