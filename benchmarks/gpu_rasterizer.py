"""The rasterizer on a GPU, beside gsplat's release when it is installed: equality first, then times against the goals.

Times are the median of CUDA events over 100 calls after 20 for warming up, and wall clock per call with one device
synchronisation at the end. The scene is random: 1,000,000 Gaussians, 1440x1080, about half of them in view.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import diff_gaussian_rasterization as dgr
import torch
from torch import Tensor

try:
    import gsplat
except ImportError:
    gsplat = None

WIDTH, HEIGHT, COUNT = 1440, 1080, 1_000_000
WARM_UP, CALLS = 20, 100


@dataclass(frozen=True)
class Scene:
    """Gaussians in front of a camera, on one device."""

    view: dgr.View
    geometry: dict[str, Tensor]  # means, scales, rotations, opacities

    @classmethod
    def random(cls, count: int, width: int, height: int, device: str) -> "Scene":
        """A cloud of mostly small Gaussians around the view, opacities below 0.98 so that no clamp of alpha matters."""
        generator = torch.Generator().manual_seed(0)
        means = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([16.0, 12.0, 10.0]) + torch.tensor([0, 0, 7.0])
        sizes = 0.012 * torch.exp(
            0.8 * torch.randn(count, 1, generator=generator) + 0.4 * torch.randn(count, 3, generator=generator)
        )
        geometry = {
            "means": means,
            "scales": sizes,
            "rotations": torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1),
            "opacities": 0.98 * torch.rand(count, generator=generator) ** 1.5 + 0.005,
        }
        view = dgr.View(torch.eye(4), 1100.0 * width / 1440, 1100.0 * width / 1440, width / 2, height / 2, width, height)
        return cls(view, {name: tensor.to(device) for name, tensor in geometry.items()})

    def to(self, device: str) -> "Scene":
        """The same on another device."""
        return Scene(self.view, {name: tensor.to(device) for name, tensor in self.geometry.items()})

    def requiring_grad(self) -> "Scene":
        """A copy whose geometry wants gradients."""
        return Scene(self.view, {name: tensor.detach().clone().requires_grad_() for name, tensor in self.geometry.items()})


def ours(scene: Scene, features: Tensor) -> Tensor:
    """Image [D, H, W]."""
    return dgr.rasterize(scene.view, **scene.geometry, features=features).image


def peer(scene: Scene, features: Tensor) -> Tensor:
    """Image [H, W, D] of gsplat, with our near plane and blur."""
    view, g = scene.view, scene.geometry
    intrinsics = torch.tensor([[view.fx, 0, view.cx], [0, view.fy, view.cy], [0, 0, 1]], device=features.device)
    image, _, _ = gsplat.rasterization(
        g["means"], g["rotations"], g["scales"], g["opacities"], features, view.world_to_camera.to(features.device)[None],
        intrinsics[None], view.width, view.height, near_plane=0.2, eps2d=0.3, packed=False,
    )  # fmt: skip
    return image[0]


def find_peer() -> str:
    """gsplat's version, or why its columns stay empty. The first use of its release compiles its kernels, for minutes."""
    global gsplat  # noqa: PLW0603 - what cannot run is not there
    if gsplat is None:
        return "not installed"
    try:
        with torch.no_grad():
            peer(Scene.random(1000, 64, 48, "cuda"), torch.rand(1000, 9, device="cuda"))
    except (RuntimeError, ImportError, OSError, AttributeError, TypeError) as error:
        gsplat = None
        return f"does not run here: {str(error).strip().splitlines()[-1]}"
    return gsplat.__version__


@dataclass(frozen=True)
class Time:
    """Milliseconds per call."""

    events: float
    wall: float


def measure(call: Callable[[], object]) -> Time:
    """Median of CUDA events, and synchronised wall clock."""
    for _ in range(WARM_UP):
        call()
    torch.cuda.synchronize()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(CALLS)]
    start = time.perf_counter()
    for before, after in events:
        before.record()
        call()
        after.record()
    torch.cuda.synchronize()
    wall = (time.perf_counter() - start) / CALLS
    return Time(statistics.median(before.elapsed_time(after) for before, after in events), 1e3 * wall)


def gradient_call(render: Callable[[Scene, Tensor], Tensor], scene: Scene, features: Tensor, leaves: list[Tensor]):
    """A forward and backward pass with a fixed image gradient."""
    with torch.no_grad():
        grad = torch.randn_like(render(scene, features))

    def call() -> tuple[Tensor, ...]:
        return torch.autograd.grad(render(scene, features), leaves, grad)

    return call


def check_equality() -> list[str]:
    """Our GPU results against our CPU backend, and gsplat's image against ours. Exits when ours disagree."""
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
        sys.exit("\n".join(["The CUDA backend disagrees with the CPU backend; nothing was timed.", *lines]))
    if gsplat is not None:
        scene = cpu.to("cuda")
        with torch.no_grad():
            difference = (peer(scene, features.cuda()).permute(2, 0, 1) - ours(scene, features.cuda())).abs()
        lines.append(f"  gsplat's image: mean difference {float(difference.mean()):.1e}, largest {float(difference.max()):.1e}")
    return lines


@dataclass(frozen=True)
class Row:
    """One line of the table; goals as in the benchmarks' notes."""

    task: str
    ours: Time
    peer: Time | None
    goal: str

    def __str__(self) -> str:
        ratio = f"{self.peer.events / self.ours.events:6.1f}x" if self.peer else "      -"
        other = f"{self.peer.events:9.3f}" if self.peer else "        -"
        return f"{self.task:44} {self.ours.events:9.3f} {self.ours.wall:9.3f} {other} {ratio}   {self.goal}"


def forward_rows(scene: Scene) -> list[Row]:
    """Forward passes, lists made anew and from a prepared view."""
    goals = {3: "G3 <= 0.30 ms", 9: "G1 <= 0.35 ms, G2 >= 2.5x", 64: "", 512: ""}
    prepared_goals = {9: "G1 <= 0.22 ms"}
    prepared = dgr.prepare(scene.view, **scene.geometry)
    rows = [Row("prepare", measure(lambda: dgr.prepare(scene.view, **scene.geometry)), None, "")]
    with torch.no_grad():
        for channels, goal in goals.items():
            features = torch.rand(COUNT, channels, device="cuda")
            other = measure(lambda f=features: peer(scene, f)) if gsplat else None
            rows.append(Row(f"forward, {channels} channels", measure(lambda f=features: ours(scene, f)), other, goal))
            mine = measure(lambda f=features: prepared.rasterize(f))
            rows.append(Row(f"forward, {channels} channels, prepared", mine, other, prepared_goals.get(channels, "")))
    return rows


def feature_rows(scene: Scene) -> list[Row]:
    """Forward and the gradient of the features alone."""
    goals = {9: "G4 <= 0.45 ms, >= 6x", 32: "G7 >= 3x", 64: "G7 >= 4x", 512: "G7 >= 10x, <= 4 ms"}
    prepared = dgr.prepare(scene.view, **scene.geometry)
    rows = []
    for channels, goal in goals.items():
        features = torch.rand(COUNT, channels, device="cuda", requires_grad=True)
        mine = measure(gradient_call(lambda _, f: prepared.rasterize(f).image, scene, features, [features]))
        other = measure(gradient_call(peer, scene, features, [features])) if gsplat else None
        rows.append(Row(f"forward + features' gradient, {channels}, prepared", mine, other, goal))
    return rows


def full_row(scene: Scene) -> Row:
    """Forward and every gradient, three channels: an iteration of RGB training."""
    scene = scene.requiring_grad()
    features = torch.rand(COUNT, 3, device="cuda", requires_grad=True)
    leaves = [features, *scene.geometry.values()]
    mine = measure(gradient_call(ours, scene, features, leaves))
    other = measure(gradient_call(peer, scene, features, leaves)) if gsplat else None
    return Row("forward + every gradient, 3 channels", mine, other, "G8 <= 1.0 ms, >= 2.5x")


def joint_rows(scene: Scene) -> tuple[list[Row], float]:
    """Three levels of three channels, L1 against the codes of segment ids, Adam; and the peak memory in GB."""
    prepared = dgr.prepare(scene.view, **scene.geometry)
    codes = torch.zeros(COUNT, 9, device="cuda", requires_grad=True)
    optimizer = torch.optim.Adam([codes], lr=2.5e-3, eps=1e-15, fused=True, capturable=True)
    tables = torch.rand(3, 300, 3, device="cuda")
    ids = torch.randint(0, 300, (3, HEIGHT, WIDTH), device="cuda")

    def iteration() -> None:
        optimizer.zero_grad(set_to_none=True)
        image = prepared.rasterize(codes).image
        target = torch.cat([tables[level][ids[level]].permute(2, 0, 1) for level in range(3)])
        (image - target).abs().mean().backward()
        optimizer.step()

    torch.cuda.reset_peak_memory_stats()
    eager = measure(iteration)
    peak = torch.cuda.max_memory_allocated() / 1e9
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        iteration()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        iteration()
    goal = "G6 <= 0.6 ms"
    name = "joint iteration: 9 channels, L1, Adam"
    return [Row(name, eager, None, goal), Row(f"{name}, CUDA graph", measure(graph.replay), None, goal)], peak


def main() -> None:
    """Print everything."""
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, {properties.multi_processor_count} SMs; torch {torch.__version__}; gsplat: {find_peer()}")
    print("Equality (200,000 Gaussians, 720x540, 9 channels, CUDA against the CPU backend):", *check_equality(), sep="\n")
    scene = Scene.random(COUNT, WIDTH, HEIGHT, "cuda")
    prepared = dgr.prepare(scene.view, **scene.geometry)
    print(
        f"\n{COUNT:,} Gaussians, {WIDTH}x{HEIGHT}: {prepared.num_visible:,} visible, {prepared.num_pairs:,} (Gaussian, tile) "
        f"pairs, prepared view {prepared.nbytes / 1e6:.0f} MB"
    )
    print(f"\n{'ms per call':44} {'events':>9} {'wall':>9} {'gsplat':>9} {'ratio':>7}   goal")
    for row in (*forward_rows(scene), *feature_rows(scene), full_row(scene)):
        print(row, flush=True)
    rows, peak = joint_rows(scene)
    print(*rows, sep="\n")
    print(f"\npeak memory of the joint iteration: {peak:.2f} GB (G13 <= 1.5 GB)")


if __name__ == "__main__":
    main()
