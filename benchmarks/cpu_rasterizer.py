"""The rasterizer on the CPU: against a scalar splat-major loop, kernel rates, frozen geometry, many views, tiles, N and D.

    python -m benchmarks.cpu_rasterizer [--repeats 5] [--model MODEL] [--tables yardstick rates sets frozen views tiles sizes]

Every table is measured in one run. Times are the best of the repeats, in milliseconds: wall clock, and CPU time of the
process over all its threads. Other load on the machine affects the wall clock more than CPU time; `chrt -r 1` in front of the
command keeps other processes away.
The scenes are random; with --model, the Gaussians and training cameras of a model folder instead. The yardstick is compiled here
from splat_major_yardstick.cpp with -O3 (the C++ compiler of CXX, or g++).
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from diff_gaussian_rasterization import _C, PreparedView, rasterize, set_weight_budget, set_weight_precision
from diff_gaussian_rasterization.kept_weights import DEFAULT_BUDGET
from diff_gaussian_rasterization.prepared_ops import prepared_fields
from torch import Tensor

from benchmarks.cpu_scenes import CACHED_VIEWS, FOCAL, Scene, compiled, measure, step, table, time_training

TABLES = ("yardstick", "rates", "sets", "frozen", "views", "tiles", "sizes")


@dataclass
class Config:
    """What to measure."""

    repeats: int = 5
    """The best of this many calls counts."""
    model: Path | None = None
    """Model folder of train.py to measure instead of random scenes; the tables yardstick and sizes have random scenes only."""
    tables: tuple[str, ...] = TABLES
    """Which tables."""
    views: int = 10
    """Cameras of the table of many views, with a random scene or at most with a model."""
    gigabytes: tuple[float, ...] = (0.5, 4.0, 16.0)
    """Memory allowed for 50 views, as `train.py --view_cache_gb`; fewer views are given their share."""


def work_of(prepared: PreparedView) -> Tensor:
    """[tiles, 3] pairs, evaluations of alpha and blends, the last two one per pixel and Gaussian."""
    return torch.tensor(_C.measure_work(prepared_fields(prepared._state, prepared._counts))).reshape(-1, 3)


def compile_yardstick() -> Callable[[Scene, Tensor], Tensor]:
    """The scalar loop as a function (scene, colours) -> image."""
    function = compiled("splat_major_yardstick.cpp").splat_major

    def call(scene: Scene, colors: Tensor) -> Tensor:
        image = torch.empty(3, scene.view.height, scene.view.width)
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in (*scene.geometry, colors)]
        size = ctypes.c_int64(len(colors)), *pointers, ctypes.c_float(FOCAL), scene.view.width, scene.view.height
        function(*size, ctypes.c_void_p(image.data_ptr()))
        return image

    return call


def against_yardstick(scenes: dict[str, Scene], repeats: int) -> None:
    """Forward pass of 3 channels, projection to image, two threads against the scalar loop on one."""
    torch.set_num_threads(2)
    rows = []
    yardstick = compile_yardstick()
    for name, scene in scenes.items():
        colors = scene.features(3).detach()
        difference = (rasterize(scene.view, *scene.geometry, colors).image - yardstick(scene, colors)).abs()
        slow = measure(partial(yardstick, scene, colors), 1)
        fast = measure(partial(rasterize, scene.view, *scene.geometry, colors), repeats)
        rows.append([name, slow.wall, fast.wall, slow.wall / fast.wall, slow.cpu, fast.cpu, 2 * slow.cpu / fast.cpu])
        rows[-1].append(float(difference.mean()))
    head = ["scene", "loop wall", "ours wall", "ratio", "loop CPU", "ours CPU", "2 x CPU ratio", "mean difference"]
    table("Forward, C = 3, whole call: two threads against the scalar loop on one (ms)", head, rows)


def rates(scenes: dict[str, Scene], repeats: int) -> None:
    """Kernels on prepared views, one thread: evaluations of alpha and blends per second. No weights are stored here."""
    torch.set_num_threads(1)
    set_weight_budget(0)
    rows = []
    for name, scene in scenes.items():
        prepared = scene.prepared()
        _, evaluations, blends = work_of(prepared).sum(0).tolist()
        for channels in (1, 3, 4, 9, 16):
            features = scene.features(channels)
            forward = measure(partial(prepared.rasterize, features.detach()), repeats)
            image = prepared.rasterize(features).image
            gradient = partial(torch.autograd.grad, image, features, scene.image_gradient(channels), retain_graph=True)
            backward = measure(gradient, repeats)
            rows.append([name, channels, forward.cpu, evaluations / forward.cpu / 1e6, backward.cpu, blends / backward.cpu / 1e6])
    head = ["scene", "C", "forward CPU ms", "G evaluations/s", "feature backward CPU ms", "G blends/s"]
    table("Prepared view, one thread", head, rows)
    set_weight_budget(DEFAULT_BUDGET)


def frozen_calls(scene: Scene) -> dict[str, Callable[[], object]]:
    """Calls at 9 channels: features only on a prepared view, with 16-bit, 32-bit and no kept weights, against everything."""
    features, gradient, label_maps = scene.features(9), scene.image_gradient(9), scene.label_maps()
    leaves = [t.clone().requires_grad_() for t in scene.geometry]
    views = {}
    for bits in (32, 16):
        set_weight_precision(bits)
        views[bits], evaluated = scene.prepared(), scene.prepared()

    def train(view: PreparedView, budget: int) -> None:
        set_weight_budget(budget)
        step(lambda f: view.rasterize(f).image, features, gradient, [])
        set_weight_budget(DEFAULT_BUDGET)

    return {
        "prepare": scene.prepared,
        "prepare, alpha and depth": lambda: scene.prepared().alpha,
        "prepared: lift three levels": lambda: evaluated.lift(label_maps),
        "prepared: forward, every alpha evaluated": lambda: evaluated.rasterize(features.detach()),
        "prepared: forward + feature backward, every alpha evaluated": partial(train, evaluated, 0),
        "prepared: forward + feature backward, 32-bit weights kept": partial(train, views[32], 4 << 30),
        "prepared: forward + feature backward": partial(train, views[16], 4 << 30),
        "full: forward": lambda: rasterize(scene.view, *scene.geometry, features.detach()),
        "full: forward + full backward": lambda: step(
            lambda f: rasterize(scene.view, *leaves, f).image, features, gradient, leaves
        ),
    }


def frozen_geometry(scene: Scene, repeats: int) -> None:
    """Times of `frozen_calls`, one and two threads, and the memory of a view."""
    calls, timings = frozen_calls(scene), {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, call in calls.items():
            if name.endswith(("backward", "kept")):
                call()  # weights are kept by the second call
            timings[name, threads] = measure(call, repeats)
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
    prepared = scene.prepared()
    sizes = f"36 B per pair, 12 B per Gaussian (radius included), 8 B per pixel ({8 * scene.pixels / 1e6:.0f} MB)"
    print(f"prepared memory {prepared.nbytes / 1e6:.0f} MB: {sizes}.")
    for bits in (16, 32):
        set_weight_precision(bits)
        prepared = scene.prepared()
        for _ in range(2):
            prepared.rasterize(scene.features(1))
        print(f"Weights kept from the second training pass on, {bits} bits: {prepared.kept_nbytes / 1e6:.0f} MB.")
    set_weight_precision(16)


def instruction_sets(scene: Scene, repeats: int) -> None:
    """The same calls with each instruction set, one thread."""
    torch.set_num_threads(1)
    names, rows = [name for name in _C.instruction_sets() if name != "scalar"], []
    before = _C.instruction_set()
    for call_name, call in frozen_calls(scene).items():
        times = []
        for name in names:
            _C.use_instruction_set(name)
            call()
            times.append(measure(call, repeats).cpu)
        rows.append([call_name, *times, *(times[-1] / time for time in times[:-1])])
    _C.use_instruction_set(before)
    table("Instruction sets, C = 9, one thread (CPU ms)", ["", *names, *(f"{names[-1]} / {name}" for name in names[:-1])], rows)


def many_views(scene: Scene, config: Config) -> None:
    """Training passes over many views in turn, cached as train.py does, by the memory allowed; two threads."""
    torch.set_num_threads(2)
    cameras = scene.cameras[: config.views] if config.model else Scene.random(1_000_000, 0.006, config.views).cameras
    features, gradient, rows = scene.features(9), scene.image_gradient(9), []
    for gigabytes in config.gigabytes:
        for bits in (32, 16):
            set_weight_precision(bits)
            views, spent = time_training(cameras, scene.gaussians, features, gradient, gigabytes)
            kept = [view.kept_nbytes > 0 for view in views._kept.values()]
            rows.append([gigabytes, bits, len(kept), sum(kept), spent.wall, spent.cpu])
            del views  # their weights would count against the budget of the next row
    set_weight_precision(16)
    set_weight_budget(DEFAULT_BUDGET)
    head = [f"GB for {CACHED_VIEWS} views", "bits", "views prepared", "weights kept", "ms per view, wall", "CPU"]
    table(f"Prepared forward + feature backward, C = 9, {len(cameras)} views in turn, two threads", head, rows)


def tiles(scene: Scene) -> None:
    """How the evaluations of alpha are spread over tiles, and what longest tiles first leaves to be gained by splitting tiles."""
    pairs, work = work_of(scene.prepared())[:, :2].double().T
    total, largest = float(work.sum()), work.sort(descending=True).values
    hundredth = max(1, len(work) // 100)
    rows = [
        [len(work), float(work.median()), float(largest[0]), float(largest[0] / work.median()), 100 * float(largest[0]) / total]
    ]
    rows[0].append(100 * float(largest[:hundredth].sum()) / total)
    head = ["tiles", "median evaluations", "largest", "largest / median", "largest, % of all", "1 % largest, % of all"]
    table("Tiles", head, rows)
    orders = {"by position": torch.arange(len(work)), "longest first": pairs.argsort(descending=True, stable=True)}
    rows = []
    for threads in (2, 8, 16, 64):
        row = [threads]
        for order in orders.values():
            busy = [0.0] * threads
            for spent in work[order].tolist():
                busy[busy.index(min(busy))] += spent
            row.append(total / threads / max(busy))
        rows.append(row)
    table("Share of the time that threads are busy if a tile takes as long as its evaluations", ["threads", *orders], rows)


def by_size(repeats: int) -> None:
    """Whole forward and full backward against the number of Gaussians and of channels, two threads."""
    torch.set_num_threads(2)
    rows = []
    for count in (10_000, 100_000, 1_000_000):
        scene = Scene.random(count, 0.006 * (1e6 / count) ** 0.5)  # the same coverage from fewer, larger Gaussians
        features, gradient = scene.features(3), scene.image_gradient(3)
        leaves = [t.clone().requires_grad_() for t in scene.geometry]
        forward = measure(partial(rasterize, scene.view, *scene.geometry, features.detach()), repeats)
        render = partial(rasterize, scene.view, *leaves)
        both = measure(partial(step, lambda f, render=render: render(f).image, features, gradient, leaves), repeats)
        rows.append([count, forward.wall, forward.cpu, both.wall, both.cpu])
    head = ["N", "forward wall", "forward CPU", "forward + full backward wall", "CPU"]
    table("Against N at C = 3, two threads (ms)", head, rows)

    scene = Scene.random(200_000, 0.006 * 5**0.5)
    rows = []
    for channels in (1, 3, 9, 16, 64, 512):
        prepared = scene.prepared()  # a new view has no stored weights: the forward pass evaluates alpha
        features, gradient = scene.features(channels), scene.image_gradient(channels)
        repeats = repeats if channels < 64 else 1
        forward = measure(partial(prepared.rasterize, features.detach()), repeats)
        train = partial(step, lambda f, view=prepared: view.rasterize(f).image, features, gradient, [])
        train()
        both = measure(train, repeats)  # stored weights are used from the second pass on
        rows.append([channels, forward.wall, forward.cpu, both.wall, both.cpu])
    head = ["D", "forward wall", "forward CPU", "forward + feature backward wall", "CPU"]
    table("Against D at N = 200,000 on a prepared view, two threads (ms)", head, rows)


def main(config: Config) -> None:
    """The chosen tables."""
    if config.model:
        scenes = {config.model.name: Scene.trained(config.model)}
    else:
        scenes = {"A": Scene.random(1_000_000, 0.006), "B": Scene.random(800_000, 0.0052)}
    first = next(iter(scenes.values()))
    print(f"{_C.instruction_set()} path, {os.cpu_count()} processors, torch {torch.__version__}; best of {config.repeats}")
    for name, scene in scenes.items():
        prepared = scene.prepared()
        _, evaluations, blends = (work_of(prepared).sum(0) / scene.pixels).tolist()
        print(
            f"scene {name}: {len(scene.gaussians)} Gaussians, {scene.view.width}x{scene.view.height}, {prepared.num_visible} "
            f"visible, {prepared.num_pairs} pairs; {evaluations:.1f} evaluations and {blends:.1f} blends per pixel"
        )
    calls = {
        "yardstick": lambda: None if config.model else against_yardstick(scenes, config.repeats),
        "rates": lambda: rates(scenes, config.repeats),
        "sets": lambda: instruction_sets(first, config.repeats),
        "frozen": lambda: frozen_geometry(first, config.repeats),
        "views": lambda: many_views(first, config),
        "tiles": lambda: tiles(first),
        "sizes": lambda: None if config.model else by_size(config.repeats),
    }
    for name in config.tables:
        calls[name]()


if __name__ == "__main__":
    main(tyro.cli(Config))
