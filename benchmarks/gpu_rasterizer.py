"""The rasterizer on a GPU, beside gsplat's release when it is installed: equality first, then times against the goals.

python benchmarks/gpu_rasterizer.py [tables | once | profile] [--results <file>] [--model <trained model folder>]

Three times of each task, in milliseconds per call, 100 calls after 20 for warming up, fewer of tasks longer than 20 ms:
  kernels  sum of the durations of all kernels and copies on the device, by torch's profiler; "-" where it cannot run
  events   median between two CUDA events around the call: the device's work, including time spent waiting for Python
  wall     wall clock of all calls with one synchronisation at the end
Ratios compare events. Inputs of both sides are on the GPU before anything is timed, the peer's camera too; ours is read from
host memory in every call, as in its published use. A prepared view is never compared with the peer without saying so: the row
without preparation stands beside it. The scene is random: 1,000,000 Gaussians, 1440x1080, about half of them in view; with
--model it is a trained one, seen from its first held-out camera at 1440 pixels across.

`once` runs each task twice, for tools that look at single kernels (ncu; with --small compute-sanitizer). `profile` writes a
trace.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import diff_gaussian_rasterization as dgr
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, as the scripts at the root

from benchmarks.gpu_scenes import COUNT, HEIGHT, WIDTH, Scene, find_peer, ours, peer_of
from benchmarks.gpu_timing import Time, measure


def gradient_call(render: Callable[[Scene, Tensor], Tensor], scene: Scene, features: Tensor, leaves: list[Tensor]):
    """A forward and backward pass with a fixed image gradient."""
    with torch.no_grad():
        grad = torch.randn_like(render(scene, features))

    def call() -> tuple[Tensor, ...]:
        return torch.autograd.grad(render(scene, features), leaves, grad)

    return call


def check_equality() -> tuple[list[str], bool]:
    """Our GPU results against our CPU backend, and gsplat's image against ours; and whether our two backends agree."""
    cpu = Scene.random(200_000, 720, 540, "cpu")
    features = torch.rand(200_000, 9, generator=torch.Generator().manual_seed(1))
    grad = torch.randn(9, 540, 720, generator=torch.Generator().manual_seed(2))
    results = []
    for device in ("cpu", "cuda"):
        scene, leaf = cpu.to(device).requiring_grad(), features.to(device).requires_grad_()
        image = ours(scene, leaf)
        leaves = {**scene.geometry, "features": leaf}
        gradients = torch.autograd.grad(image, list(leaves.values()), grad.to(device))
        results.append([image.detach().cpu(), *[g.cpu() for g in gradients]])
    lines, failed = [], False
    for name, a, b in zip(("image", *leaves), *results, strict=True):
        limit = 1e-4 if name == "image" else 1e-3 * float(a.abs().max())
        # Values within rounding of the 1/255 cut may fall on either side of it: one entry in ten thousand may differ more.
        share = float(((a - b).abs() > limit).double().mean())
        failed |= not share <= 1e-4
        lines.append(
            f"  {name:10} largest difference {float((a - b).abs().max()):.1e}, beyond {limit:.0e}: {share:.1e} of entries"
        )
    if failed:
        lines.append("  THE CUDA BACKEND DISAGREES WITH THE CPU BACKEND: the times below are of wrong results")
    peer = peer_of(cpu.view)
    if peer:
        scene = cpu.to("cuda")
        with torch.no_grad():
            difference = (peer(scene, features.cuda()).permute(2, 0, 1) - ours(scene, features.cuda())).abs()
        lines.append(f"  gsplat's image: mean difference {float(difference.mean()):.1e}, largest {float(difference.max()):.1e}")
    return lines, not failed


@dataclass(frozen=True)
class Row:
    """One line of the table; goals as in docs/benchmarks.md."""

    task: str
    ours: Time
    peer: Time | None
    goal: str

    def __str__(self) -> str:
        ratio = f"{self.peer.events / self.ours.events:6.1f}x" if self.peer else "      -"
        cells = [
            f"{value:8.3f}" if value is not None else "       -"
            for t in (self.ours, self.peer)
            for value in ((t.kernels, t.events, t.wall) if t else (None, None, None))
        ]
        return f"{self.task:46} {' '.join(cells)} {ratio}   {self.goal}"


COLUMNS = ("kernels", "events", "wall", "gsplat", "events", "wall")
HEADER = f"{'ms per call':46} {' '.join(f'{column:>8}' for column in COLUMNS)} {'ratio':>7}   goal"


def forward_rows(scene: Scene) -> Iterator[Row]:
    """Forward passes: with preparation, then on a prepared view."""
    goals = {3: "G3 <= 0.30 ms", 9: "G1 <= 0.35 ms, G2 >= 2.5x", 64: "", 512: ""}
    prepared_goals = {9: "G1 <= 0.22 ms"}
    prepared, peer = dgr.prepare(scene.view, **scene.geometry), peer_of(scene.view)
    yield Row("prepare", measure(lambda: dgr.prepare(scene.view, **scene.geometry)), None, "")
    with torch.no_grad():
        for channels, goal in goals.items():
            features = torch.rand(len(scene.geometry["means"]), channels, device="cuda")
            other = measure(lambda f=features: peer(scene, f)) if peer else None
            yield Row(f"forward, {channels} channels", measure(lambda f=features: ours(scene, f)), other, goal)
            mine = measure(lambda f=features: prepared.rasterize(f))
            yield Row(f"forward, {channels} channels, prepared", mine, None, prepared_goals.get(channels, ""))


def feature_rows(scene: Scene) -> Iterator[Row]:
    """Forward and the gradient of the features alone: with preparation, as in gsplat, then on a prepared view."""
    goals = {9: "G4 >= 6x", 32: "G7 >= 3x", 64: "G7 >= 4x", 512: "G7 >= 10x"}
    prepared_goals = {9: "G4 <= 0.45 ms", 512: "G7 <= 4 ms"}
    prepared, peer = dgr.prepare(scene.view, **scene.geometry), peer_of(scene.view)
    for channels, goal in goals.items():
        features = torch.rand(len(scene.geometry["means"]), channels, device="cuda", requires_grad=True)
        other = measure(gradient_call(peer, scene, features, [features])) if peer else None
        mine = measure(gradient_call(ours, scene, features, [features]))
        yield Row(f"forward + features' gradient, {channels}", mine, other, goal)
        mine = measure(gradient_call(lambda _, f: prepared.rasterize(f).image, scene, features, [features]))
        goal = prepared_goals.get(channels, "")
        yield Row(f"forward + features' gradient, {channels}, prepared", mine, other, f"{goal} (gsplat prepares)".strip())


def full_row(scene: Scene) -> Row:
    """Forward and every gradient, three channels: an iteration of RGB training."""
    scene = scene.requiring_grad()
    features = torch.rand(len(scene.geometry["means"]), 3, device="cuda", requires_grad=True)
    leaves = [features, *scene.geometry.values()]
    peer = peer_of(scene.view)
    mine = measure(gradient_call(ours, scene, features, leaves))
    other = measure(gradient_call(peer, scene, features, leaves)) if peer else None
    return Row("forward + every gradient, 3 channels", mine, other, "G8 <= 1.0 ms, >= 2.5x")


def joint_iteration(scene: Scene) -> Callable[[], None]:
    """Three levels of three channels, L1 against the codes of segment ids, Adam."""
    prepared = dgr.prepare(scene.view, **scene.geometry)
    codes = torch.zeros(len(scene.geometry["means"]), 9, device="cuda", requires_grad=True)
    optimizer = torch.optim.Adam([codes], lr=2.5e-3, eps=1e-15, fused=True, capturable=True)
    tables = torch.rand(3, 300, 3, device="cuda")
    ids = torch.randint(0, 300, (3, scene.view.height, scene.view.width), device="cuda")

    def iteration() -> None:
        optimizer.zero_grad(set_to_none=True)
        image = prepared.rasterize(codes).image
        target = torch.cat([tables[level][ids[level]].permute(2, 0, 1) for level in range(3)])
        (image - target).abs().mean().backward()
        optimizer.step()

    return iteration


def joint_rows(scene: Scene) -> Iterator[Row]:
    """The eager iteration, with its peak memory in GB, and the iteration as a CUDA graph."""
    iteration = joint_iteration(scene)
    torch.cuda.reset_peak_memory_stats()
    eager = measure(iteration)
    peak = torch.cuda.max_memory_allocated() / 1e9
    name = "joint iteration: 9 channels, L1, Adam"
    yield Row(name, eager, None, f"G6 <= 0.6 ms; peak {peak:.2f} GB, G13 <= 1.5 GB")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        iteration()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        iteration()
    yield Row(f"{name}, CUDA graph", measure(graph.replay), None, "G6 <= 0.6 ms")


def tables(scene: Scene, results: Path | None, with_peer: bool) -> int:
    """Print every row as soon as it is measured, and store it in `results`. 1 when a result is wrong or a row failed."""
    properties, peer = torch.cuda.get_device_properties(0), find_peer(with_peer)
    print(f"{properties.name}, {properties.multi_processor_count} SMs; torch {torch.__version__}; gsplat: {peer}")
    print(f"built: {dgr.build_record()}")
    lines, agree = check_equality()
    print("Equality (200,000 Gaussians, 720x540, 9 channels, CUDA against the CPU backend):", *lines, sep="\n")
    prepared = dgr.prepare(scene.view, **scene.geometry)
    print(
        f"\n{prepared.radii.shape[0]:,} Gaussians, {scene.view.width}x{scene.view.height}: {prepared.num_visible:,} visible, "
        f"{prepared.num_pairs:,} (Gaussian, tile) pairs, prepared view {prepared.nbytes / 1e6:.0f} MB"
    )
    print(f"\n{HEADER}", flush=True)
    status = 0 if agree else 1
    groups = (forward_rows, feature_rows, lambda s: iter([full_row(s)]), joint_rows)
    for group in groups:
        try:
            for row in group(scene):
                print(row, flush=True)
                if results:
                    with results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
        except (RuntimeError, ValueError) as error:  # continue with the other rows
            print(f"FAILED: {error}", flush=True)
            status = 1
    return status


def once(scene: Scene) -> None:
    """Every kernel, twice."""
    prepared = dgr.prepare(scene.view, **scene.geometry)
    n = len(scene.geometry["means"])
    trained = scene.requiring_grad()
    for _ in range(2):
        for channels in (9, 512):
            features = torch.rand(n, channels, device="cuda", requires_grad=True)
            prepared.rasterize(features).image.sum().backward()
        colors = dgr.evaluate_sh(
            3, trained.geometry["means"], torch.zeros(3), torch.rand(n, 16, 3, device="cuda", requires_grad=True)
        )
        ours(trained, colors).sum().backward()
        labels = torch.arange(scene.view.width * scene.view.height, device="cuda").view(1, scene.view.height, -1) // 100
        prepared.lift(labels)
    torch.cuda.synchronize()


def profile(scene: Scene, trace: Path) -> None:
    """A trace of three calls of each of three tasks, and the kernels by time."""
    prepared = dgr.prepare(scene.view, **scene.geometry)
    features = torch.rand(len(scene.geometry["means"]), 9, device="cuda", requires_grad=True)
    tasks = {
        "prepared forward + gradient": gradient_call(lambda _, f: prepared.rasterize(f).image, scene, features, [features]),
        "forward": lambda: ours(scene, features.detach()),
        "joint iteration": joint_iteration(scene),
    }
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    for task in tasks.values():
        task()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profiler:
        for name, task in tasks.items():
            for _ in range(3):
                with torch.profiler.record_function(name):
                    task()
                torch.cuda.synchronize()
    print(profiler.key_averages().table(sort_by="self_device_time_total", row_limit=40))
    profiler.export_chrome_trace(str(trace))


def main() -> int:
    """Run the requested mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("tables", "once", "profile"), default="tables")
    parser.add_argument("--results", type=Path, help="tables: a file of JSON lines to add to; profile: the trace to write")
    parser.add_argument("--model", type=Path, help="a model folder of train.py, instead of the random scene")
    parser.add_argument("--no-peer", action="store_true", help="tables: without gsplat, whose first use compiles for minutes")
    parser.add_argument("--small", action="store_true", help="2,000 Gaussians at 96x64, for tools that slow everything down")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: torch sees no CUDA device")
    if args.model:
        scene = Scene.trained(args.model, "cuda")
    else:
        scene = Scene.random(2000, 96, 64, "cuda") if args.small else Scene.random(COUNT, WIDTH, HEIGHT, "cuda")
    if args.what == "once":
        once(scene)
    elif args.what == "profile":
        profile(scene, args.results or Path("trace.json"))
    else:
        return tables(scene, args.results, not args.no_peer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
