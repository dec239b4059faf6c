"""The rasterizer on the CPU: against a scalar splat-major loop, kernel rates, frozen geometry, threads, N and D.

    python benchmarks/cpu_rasterizer.py [repeats]

Every table is measured in one run. Times are the best of the repeats, in milliseconds: wall clock, and CPU time of the
process over all its threads. Other load on the machine affects the wall clock more than CPU time.
The yardstick is compiled here from splat_major_yardstick.cpp with -O3 (the C++ compiler of CXX, or g++).
"""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads sleep instead of spinning, so CPU time is work

import torch
from diff_gaussian_rasterization import _C, PreparedView, View, prepare, rasterize, set_weight_budget
from diff_gaussian_rasterization.kept_weights import DEFAULT_BUDGET
from diff_gaussian_rasterization.prepared_ops import prepared_fields
from torch import Tensor

WIDTH, HEIGHT, FOCAL = 1440, 1080, 1200.0
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


@dataclass
class Timing:
    """Best of the repeats, milliseconds."""

    wall: float
    cpu: float


def measure(call: Callable[[], object], repeats: int = REPEATS) -> Timing:
    """Time `call` after one call to warm up."""
    call()
    best = Timing(float("inf"), float("inf"))
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        best.wall = min(best.wall, 1e3 * (time.perf_counter() - wall))
        best.cpu = min(best.cpu, 1e3 * (time.process_time() - cpu))
    return best


@dataclass
class Scene:
    """Random Gaussians in front of a camera, about half of them outside the image."""

    geometry: list[Tensor]  # means, scales, rotations, opacities
    view: View

    @classmethod
    def random(cls, count: int, size: float) -> "Scene":
        """`size` is the median standard deviation in world units, at depths of 2 to 8."""
        generator = torch.Generator().manual_seed(0)
        place = torch.rand(count, 3, generator=generator)
        z = 2 + 6 * place[:, 2]
        x, y = ((place[:, i] - 0.5) * z * side / FOCAL * 1.42 for i, side in ((0, WIDTH), (1, HEIGHT)))
        scales = size * torch.exp(0.6 * torch.randn(count, 3, generator=generator))
        opacities = torch.sigmoid(1.5 * torch.randn(count, generator=generator))
        geometry = [torch.stack([x, y, z], 1), scales, torch.randn(count, 4, generator=generator), opacities]
        return cls(geometry, View(torch.eye(4), FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT))

    def label_maps(self, cells: tuple[int, ...] = (30, 120, 400)) -> Tensor:
        """A level of Voronoi cells for each number; every seventh cell has no label."""
        generator = torch.Generator().manual_seed(1)
        rows, columns = torch.meshgrid(torch.arange(0.0, HEIGHT, 4), torch.arange(0.0, WIDTH, 4), indexing="ij")
        levels = []
        for count in cells:
            centres = torch.rand(count, 2, generator=generator) * torch.tensor([HEIGHT, WIDTH])
            nearest = torch.cdist(torch.stack([rows, columns], -1).reshape(-1, 2), centres).argmin(1).reshape(rows.shape)
            nearest[nearest % 7 == 0] = -1
            levels.append(nearest.repeat_interleave(4, 0).repeat_interleave(4, 1))
        return torch.stack(levels).int()

    def features(self, channels: int) -> Tensor:
        """Random channels that require a gradient."""
        return torch.rand(len(self.geometry[0]), channels).requires_grad_()


def work_of(prepared: PreparedView) -> tuple[int, int]:
    """Evaluations of alpha and blends, one per pixel and Gaussian."""
    return _C.measure_work(prepared_fields(prepared._state, prepared._counts))


def compile_yardstick(folder: str) -> Callable[[Scene, Tensor], Tensor]:
    """The scalar loop as a function (scene, colours) -> image."""
    library = Path(folder) / "yardstick.so"
    source = Path(__file__).with_name("splat_major_yardstick.cpp")
    subprocess.run([os.environ.get("CXX", "g++"), "-O3", "-shared", "-fPIC", source, "-o", library], check=True)
    function = ctypes.CDLL(str(library)).splat_major

    def call(scene: Scene, colors: Tensor) -> Tensor:
        image = torch.empty(3, HEIGHT, WIDTH)
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in (*scene.geometry, colors)]
        count = ctypes.c_int64(len(colors))
        function(count, *pointers, ctypes.c_float(FOCAL), WIDTH, HEIGHT, ctypes.c_void_p(image.data_ptr()))
        return image

    return call


def step(render: Callable[[Tensor], Tensor], features: Tensor, weights: Tensor, leaves: list[Tensor]) -> None:
    """Forward and backward of a loss linear in the image."""
    torch.autograd.grad(render(features), [features, *leaves], weights)


def table(title: str, head: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(f'{value:.3g}' if isinstance(value, float) else str(value) for value in row)} |", flush=True)


def against_yardstick(scenes: dict[str, Scene]) -> None:
    """Forward pass of 3 channels, projection to image, two threads against the scalar loop on one."""
    torch.set_num_threads(2)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        yardstick = compile_yardstick(folder)
        for name, scene in scenes.items():
            colors = scene.features(3).detach()
            difference = (rasterize(scene.view, *scene.geometry, colors).image - yardstick(scene, colors)).abs()
            slow = measure(lambda scene=scene, colors=colors: yardstick(scene, colors), 1)
            fast = measure(lambda scene=scene, colors=colors: rasterize(scene.view, *scene.geometry, colors))
            rows.append([name, slow.wall, fast.wall, slow.wall / fast.wall, slow.cpu, fast.cpu, 2 * slow.cpu / fast.cpu])
            rows[-1].append(float(difference.mean()))
    head = ["scene", "loop wall", "ours wall", "ratio", "loop CPU", "ours CPU", "2 x CPU ratio", "mean difference"]
    table("Forward, C = 3, whole call: two threads against the scalar loop on one (ms)", head, rows)


def rates(scenes: dict[str, Scene]) -> None:
    """Kernels on prepared views, one thread: evaluations of alpha and blends per second. No weights are stored here."""
    torch.set_num_threads(1)
    set_weight_budget(0)
    rows = []
    for name, scene in scenes.items():
        prepared = prepare(scene.view, *scene.geometry)
        evaluations, blends = work_of(prepared)
        for channels in (1, 3, 4, 9, 16):
            features = scene.features(channels)
            weights = torch.randn(channels, HEIGHT, WIDTH)
            with torch.no_grad():
                forward = measure(lambda prepared=prepared, features=features: prepared.rasterize(features))
            image = prepared.rasterize(features).image
            backward = measure(
                lambda image=image, features=features, weights=weights: torch.autograd.grad(
                    image, features, weights, retain_graph=True
                )
            )
            rows.append([name, channels, forward.cpu, evaluations / forward.cpu / 1e6, backward.cpu, blends / backward.cpu / 1e6])
    head = ["scene", "C", "forward CPU ms", "G evaluations/s", "feature backward CPU ms", "G blends/s"]
    table("Prepared view, one thread", head, rows)
    set_weight_budget(DEFAULT_BUDGET)


def frozen_geometry(scene: Scene) -> None:
    """Forward and backward at 9 channels: features only on a prepared view, against everything; one and two threads."""
    features, weights = scene.features(9), torch.randn(9, HEIGHT, WIDTH)
    leaves = [t.clone().requires_grad_() for t in scene.geometry]
    prepared, evaluated = (prepare(scene.view, *scene.geometry) for _ in range(2))

    def step_without_kept_weights() -> None:
        set_weight_budget(0)
        step(lambda f: evaluated.rasterize(f).image, features, weights, [])
        set_weight_budget(DEFAULT_BUDGET)

    label_maps = scene.label_maps()
    calls = {
        "prepare": lambda: prepare(scene.view, *scene.geometry),
        "prepare, alpha and depth": lambda: prepare(scene.view, *scene.geometry).alpha,
        "prepared: lift three levels": lambda: evaluated.lift(label_maps),
        "prepared: forward, every alpha evaluated": lambda: evaluated.rasterize(features.detach()),
        "prepared: forward + feature backward, every alpha evaluated": step_without_kept_weights,
        "prepared: forward + feature backward": lambda: step(lambda f: prepared.rasterize(f).image, features, weights, []),
        "full: forward": lambda: rasterize(scene.view, *scene.geometry, features.detach()),
        "full: forward + full backward": lambda: step(
            lambda f: rasterize(scene.view, *leaves, f).image, features, weights, leaves
        ),
    }
    timings = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, call in calls.items():
            timings[name, threads] = measure(call)
    rows = []
    for name in calls:
        one, two = timings[name, 1], timings[name, 2]
        rows.append([name, one.wall, one.cpu, two.wall, two.cpu, one.wall / two.wall])
    head = ["C = 9", "1 thread wall", "1 thread CPU", "2 threads wall", "2 threads CPU", "speed-up"]
    table("Frozen geometry (ms)", head, rows)
    full = timings["full: forward + full backward", 2]
    print()
    for name in [name for name in calls if "feature backward" in name]:
        feature = timings[name, 2]
        print(f"full / {name}, two threads: {full.wall / feature.wall:.2f} wall, {full.cpu / feature.cpu:.2f} CPU")
    n, pairs, pixels = len(leaves[0]), prepared.num_pairs, WIDTH * HEIGHT
    print(f"prepared memory {prepared.nbytes / 1e6:.0f} MB: {n} Gaussians, {prepared.num_visible} visible, {pairs} pairs.")
    print(f"That is 36 B per pair, 12 B per Gaussian (radius included), 8 B per pixel ({8 * pixels / 1e6:.0f} MB).")
    print(f"Weights kept from the second training pass on: {prepared.kept_nbytes / 1e6:.0f} MB.")


def by_size() -> None:
    """Whole forward and full backward against the number of Gaussians and of channels, two threads."""
    torch.set_num_threads(2)
    rows = []
    for count in (10_000, 100_000, 1_000_000):
        scene = Scene.random(count, 0.006 * (1e6 / count) ** 0.5)  # the same coverage from fewer, larger Gaussians
        features, weights = scene.features(3), torch.randn(3, HEIGHT, WIDTH)
        leaves = [t.clone().requires_grad_() for t in scene.geometry]
        forward = measure(lambda scene=scene, features=features: rasterize(scene.view, *scene.geometry, features.detach()))
        both = measure(
            lambda scene=scene, features=features, leaves=leaves, weights=weights: step(
                lambda f: rasterize(scene.view, *leaves, f).image, features, weights, leaves
            )
        )
        rows.append([count, forward.wall, forward.cpu, both.wall, both.cpu])
    head = ["N", "forward wall", "forward CPU", "forward + full backward wall", "CPU"]
    table("Against N at C = 3, two threads (ms)", head, rows)

    scene = Scene.random(200_000, 0.006 * 5**0.5)
    rows = []
    for channels in (1, 3, 9, 16, 64, 512):
        prepared = prepare(scene.view, *scene.geometry)  # a new view has no stored weights: the forward pass evaluates alpha
        features, weights = scene.features(channels), torch.randn(channels, HEIGHT, WIDTH)
        repeats = REPEATS if channels < 64 else 1
        forward = measure(lambda view=prepared, features=features: view.rasterize(features.detach()), repeats)
        train = partial(step, lambda f, view=prepared: view.rasterize(f).image, features, weights, [])
        train()
        both = measure(train, repeats)  # stored weights are used from the second pass on
        rows.append([channels, forward.wall, forward.cpu, both.wall, both.cpu])
    head = ["D", "forward wall", "forward CPU", "forward + feature backward wall", "CPU"]
    table("Against D at N = 200,000 on a prepared view, two threads (ms)", head, rows)


def main() -> None:
    """All tables."""
    scenes = {"A": Scene.random(1_000_000, 0.006), "B": Scene.random(800_000, 0.0052)}
    machine = f"{_C.instruction_set()} path, {os.cpu_count()} processors, torch {torch.__version__}"
    print(f"{machine}; {WIDTH}x{HEIGHT}; best of {REPEATS}")
    for name, scene in scenes.items():
        prepared = prepare(scene.view, *scene.geometry)
        evaluations, blends = (value / (WIDTH * HEIGHT) for value in work_of(prepared))
        print(
            f"scene {name}: {len(scene.geometry[0])} Gaussians, {prepared.num_visible} visible, {prepared.num_pairs} pairs; "
            f"{evaluations:.1f} evaluations and {blends:.1f} blends per pixel"
        )
    against_yardstick(scenes)
    rates(scenes)
    frozen_geometry(scenes["A"])
    by_size()


if __name__ == "__main__":
    main()
