"""Two builds of the rasterizer on the CPU, measured in turns: what a change gains.

    python -m benchmarks.cpu_builds before=<folder> after=<folder> [--rounds 3] [--repeats 3] [--threads 2] [--views 10]

A folder holds a built `diff_gaussian_rasterization`, as `pip install --target <folder> --no-deps <source>` leaves it. Every round
runs a process per build; the best time of all rounds counts. The scene is random: 1,000,000 Gaussians at 1440x1080. Rows of many
views are training passes over them in turn with the memory that `train.py --view_cache_gb` would allow for 50 views (fewer views
get their share), after two passes that fill the cache. Rows of small calls, 100 Gaussians at 32x32, show the time in Python.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import tyro
from diff_gaussian_rasterization import View, prepare, rasterize

from benchmarks.cpu_scenes import CACHED_VIEWS, Scene, Timing, measure, step, table, time_training

SMALL_CALLS = 100


@dataclass
class Config:
    """What to compare."""

    builds: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """name=folder of each build; none measures the installed one in this process, as JSON."""
    rounds: int = 3
    """Processes per build."""
    repeats: int = 3
    """Calls of each task in a process; the best counts."""
    threads: int = 2
    """CPU threads."""
    views: int = 10
    """Cameras of the rows of many views; 0 leaves them out."""
    gigabytes: tuple[float, ...] = (0.5, 4.0, 16.0)
    """Memory allowed for 50 views."""
    count: int = 1_000_000
    """Gaussians."""


def times(config: Config) -> dict[str, list[float]]:
    """Wall and CPU milliseconds of every task with the build that this process imports."""
    torch.set_num_threads(config.threads)
    scene = Scene.random(config.count, 0.006, max(1, config.views))
    features, gradient = {c: scene.features(c) for c in (3, 9)}, {c: scene.image_gradient(c) for c in (3, 9)}
    leaves = [t.clone().requires_grad_() for t in scene.geometry]
    full = partial(rasterize, scene.view, *leaves)
    tasks = {
        "forward, C = 3": lambda: rasterize(scene.view, *scene.geometry, features[3].detach()),
        "prepare": scene.prepared,
        "forward + full backward, C = 3": lambda: step(lambda f: full(f).image, features[3], gradient[3], leaves),
        "forward + full backward, C = 9": lambda: step(lambda f: full(f).image, features[9], gradient[9], leaves),
    }
    found = {name: measure(call, config.repeats) for name, call in tasks.items()} | small_calls(config.repeats)

    for gigabytes in config.gigabytes if config.views else ():
        spent = time_training(scene.cameras, scene.gaussians, features[9], gradient[9], gigabytes)[1]
        found[f"training pass, C = 9, {gigabytes:g} GB for {CACHED_VIEWS} views"] = spent
    return {name: [timing.wall, timing.cpu] for name, timing in found.items()}


def small_calls(repeats: int) -> dict[str, Timing]:
    """Milliseconds of 100 calls each, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    scene = Scene.random(SMALL_CALLS, 0.05)
    view = View(torch.eye(4), 30.0, 30.0, 16.0, 16.0, 32, 32)
    features, gradient = scene.features(3), torch.randn(3, 32, 32)
    leaves = [t.clone().requires_grad_() for t in scene.geometry]
    prepared = prepare(view, *scene.geometry)
    tasks = {
        "forward": lambda: rasterize(view, *scene.geometry, features.detach()),
        "forward + full backward": lambda: step(lambda f: rasterize(view, *leaves, f).image, features, gradient, leaves),
        "prepared forward": lambda: prepared.rasterize(features.detach()),
        "prepared forward + backward": lambda: step(lambda f: prepared.rasterize(f).image, features, gradient, []),
    }
    found = {}
    for name, call in tasks.items():
        found[f"{SMALL_CALLS} small calls: {name}"] = measure(lambda call=call: [call() for _ in range(SMALL_CALLS)], 5 * repeats)
    torch.set_num_threads(threads)
    return found


def main(config: Config) -> None:
    """Compare the builds."""
    if not config.builds:
        print(json.dumps(times(config)))
        return
    builds = dict(build.split("=", 1) for build in config.builds)
    best: dict[str, dict[str, list[float]]] = {name: {} for name in builds}
    options = ["--repeats", config.repeats, "--threads", config.threads, "--views", config.views, "--count", config.count]
    command = [sys.executable, "-m", "benchmarks.cpu_builds", *options, "--gigabytes", *config.gigabytes]
    for _ in range(config.rounds):
        for name, folder in builds.items():
            done = subprocess.run(
                list(map(str, command)), env=os.environ | {"PYTHONPATH": folder}, check=True, stdout=subprocess.PIPE
            )
            for task, spent in json.loads(done.stdout).items():
                best[name][task] = [min(pair) for pair in zip(spent, best[name].get(task, spent), strict=True)]
    (first, before), *others = best.items()
    rows = []
    for task, spent in before.items():
        after = [times for _, build in others for times in build[task]]
        ratios = [spent[i] / build[task][i] for _, build in others for i in (0, 1)]
        rows.append([task, *spent, *after, *ratios])
    columns = [f"{name} {kind}" for name in best for kind in ("wall", "CPU")]
    ratios = [f"{first} / {name} {kind}" for name, _ in others for kind in ("wall", "CPU")]
    table(f"{config.threads} threads (ms)", ["task", *columns, *ratios], rows)


if __name__ == "__main__":
    main(tyro.cli(Config))
