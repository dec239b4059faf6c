"""One RGB training iteration: against the pure-PyTorch reference rasterizer in one run, and a breakdown of its time.

    PYTHONPATH=. python benchmarks/rgb_iteration.py [Gaussians] [width] [height] [cpu | cuda]

The comparison is small (2,000 Gaussians, 160x120), since the reference stores every Gaussian at every pixel; both rasterizers
must give the same loss and gradients before they are timed. The breakdown is of the size given, by default 100,000
Gaussians at 640x480. Times are medians; CPU time is of the whole process, all threads.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from diff_gaussian_rasterization import evaluate_sh, rasterize, reference
from torch import Tensor

from benchmarks.timing import wait
from gaussian_renderer import view_of
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from training.densification import PARAMETERS, densify
from training.losses import photometric_loss
from training.rgb_state import RgbState

RATES = {"means": 1e-5, "log_scales": 5e-3, "quats": 1e-3, "opacity_logits": 0.05, "sh_dc": 2.5e-3, "sh_rest": 1.25e-4}


def random_state(count: int, device: str) -> RgbState:
    """Gaussians filling a cube of side 2, as wide as their spacing, half opaque, with view-dependent colours."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=generator) * 2 - 1
    gaussians = GaussianModel.from_points(points, torch.rand(count, 3, generator=generator) * 255)
    gaussians.log_scales += 0.4 * torch.randn(count, 3, generator=generator)
    gaussians.quats = torch.randn(count, 4, generator=generator)
    gaussians.opacity_logits = torch.randn(count, 1, generator=generator)
    gaussians.sh_rest += 0.05 * torch.randn(count, 15, 3, generator=generator)
    gaussians.active_sh_degree = 3
    return RgbState.start(gaussians.to(torch.device(device)), RATES, seed=0)


def random_photograph(width: int, height: int, device: str) -> Tensor:
    """Noise [3, height, width]."""
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(1)).to(device)


def front_camera(width: int, height: int) -> Camera:
    """Looks at the cube from a distance of 3; the cube fills the view."""
    world_to_camera = np.eye(4)
    world_to_camera[2, 3] = 3.0
    return Camera("front", world_to_camera, width * 1.1, width * 1.1, width / 2, height / 2, width, height)


def iteration_parts(
    state: RgbState, camera: Camera, target: Tensor, rasterizer: Callable, harmonics: Callable
) -> dict[str, tuple]:
    """(wall, CPU) seconds of each part of one iteration, and the loss."""
    gaussians, parts, device = state.gaussians, {}, target.device

    def clocked(name: str, function: Callable[[], object]) -> object:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        wait(device)
        parts[name] = (time.perf_counter() - wall, time.process_time() - cpu)
        return result

    center = torch.as_tensor(camera.center, dtype=torch.float32)
    means2d, background = torch.zeros(len(gaussians), 2, device=device, requires_grad=True), torch.zeros(3, device=device)
    colors = clocked("colours from harmonics", lambda: harmonics(3, gaussians.means, center, gaussians.sh_coeffs))
    activated = clocked("activations", lambda: (gaussians.scales, gaussians.rotations, gaussians.opacities))
    drawn = clocked(
        "rasterize",
        lambda: rasterizer(view_of(camera), gaussians.means, *activated, colors, background=background, means2d=means2d),
    )
    image = drawn.image.detach().requires_grad_()
    loss = clocked("loss", lambda: photometric_loss(image, target))
    clocked("loss, backward", loss.backward)
    clocked("rendering, backward", lambda: drawn.image.backward(image.grad))
    parts["gradients"] = [getattr(gaussians, name).grad.clone() for name in PARAMETERS]
    clocked("Adam", state.optimizer.step)
    state.optimizer.zero_grad(set_to_none=True)
    clocked("density statistics", lambda: state.statistics.record(means2d.grad, drawn.radii))
    parts["loss value"] = loss.item()
    return parts


def compare(count: int = 2_000, width: int = 160, height: int = 120, device: str = "cpu") -> None:
    """Rates of whole iterations with both rasterizers on the same input."""
    camera, target = front_camera(width, height), random_photograph(width, height, device)
    kinds = {"pure PyTorch reference": (reference.rasterize, reference.evaluate_sh, 3), "ours": (rasterize, evaluate_sh, 50)}
    seconds, first = {}, {}
    for name, (rasterizer, harmonics, repeats) in kinds.items():
        state = random_state(count, device)
        first[name] = iteration_parts(state, camera, target, rasterizer, harmonics)
        times = []
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            iteration_parts(state, camera, target, rasterizer, harmonics)
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        seconds[name] = [statistics.median(values) for values in zip(*times, strict=True)]
    theirs, ours = first.values()
    assert math.isclose(theirs["loss value"], ours["loss value"], rel_tol=1e-5), "the rasterizers disagree"
    for name, a, b in zip(PARAMETERS, theirs["gradients"], ours["gradients"], strict=True):
        # a Gaussian and pixel at the 1/255 or 1e-4 threshold may fall on either side
        assert (a - b).norm() < 1e-3 * a.norm(), f"the gradients of {name} disagree"
    print(f"whole iteration, {count:,} Gaussians, {width}x{height}, {device}, {torch.get_num_threads()} threads")
    for name, (wall, cpu) in seconds.items():
        print(f"  {name:<24}{1 / wall:10.2f} iterations/s, {cpu * 1e3:9.2f} ms of CPU time each")
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"  ratio {ratios[0]:.0f}x by the clock, {ratios[1]:.0f}x by CPU time")


def break_down(count: int, width: int, height: int, repeats: int = 20, device: str = "cpu") -> None:
    """Median time of each part of an iteration."""
    camera, target = front_camera(width, height), random_photograph(width, height, device)
    state = random_state(count, device)
    runs = [iteration_parts(state, camera, target, rasterize, evaluate_sh) for _ in range(repeats + 1)][1:]
    names = [name for name, value in runs[0].items() if isinstance(value, tuple)]
    print(f"parts of an iteration, {count:,} Gaussians, {width}x{height}, {device}     wall ms   CPU ms")
    total = [0.0, 0.0]
    for name in names:
        medians = [statistics.median(run[name][i] for run in runs) * 1e3 for i in (0, 1)]
        total = [a + b for a, b in zip(total, medians, strict=True)]
        print(f"  {name:<52}{medians[0]:9.2f}{medians[1]:9.2f}")
    print(f"  {'sum':<52}{total[0]:9.2f}{total[1]:9.2f}")
    wall, cpu = time.perf_counter(), time.process_time()
    densify(state.gaussians, state.optimizer, state.statistics, 1.0, 2e-4, 0.01, False, state.generator)
    spent = (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3
    print(f"  {'densify, once in 100 iterations':<52}{spent[0]:9.2f}{spent[1]:9.2f}")


if __name__ == "__main__":
    *sizes, place = [*sys.argv[1:], *["100000", "640", "480", "cpu"][len(sys.argv) - 1 :]]
    compare(device=place)
    break_down(*map(int, sizes), device=place)
