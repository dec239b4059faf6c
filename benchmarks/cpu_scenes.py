"""Scenes, timing and tables of the benchmarks of the rasterizer on the CPU."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads sleep instead of spinning, so CPU time is work

import ctypes
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diff_gaussian_rasterization import PreparedView, View, prepare
from torch import Tensor

from gaussian_renderer import view_of
from gaussian_renderer.trained_model import load_trained
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from training.language_views import PreparedViews
from workspace import ModelFolder

WIDTH, HEIGHT, FOCAL = 1440, 1080, 1200.0  # of random scenes
CACHED_VIEWS = 50  # to which the memory of `time_training` refers
SPREAD = 0.3  # of the cameras of a random scene, in world units; its Gaussians are at depths of 2 to 8


@dataclass
class Timing:
    """Best of the repeats, milliseconds."""

    wall: float
    cpu: float


def measure(call: Callable[[], object], repeats: int) -> Timing:
    """Time `call` after one call to warm up."""
    call()
    best = Timing(float("inf"), float("inf"))
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        best.wall = min(best.wall, 1e3 * (time.perf_counter() - wall))
        best.cpu = min(best.cpu, 1e3 * (time.process_time() - cpu))
    return best


def step(render: Callable[[Tensor], Tensor], features: Tensor, weights: Tensor, leaves: list[Tensor]) -> None:
    """Forward and backward of a loss linear in the image."""
    torch.autograd.grad(render(features), [features, *leaves], weights)


def time_training(
    cameras: list[Camera], gaussians: GaussianModel, features: Tensor, gradient: Tensor, gigabytes: float
) -> tuple[PreparedViews, Timing]:
    """A training pass over the cameras in turn, cached as train.py does, per view: the cache, and the third pass's time.

    `gigabytes` are allowed for 50 views; fewer cameras are given their share.
    """
    views = PreparedViews(cameras, gaussians, gigabytes * 1e9 * len(cameras) / CACHED_VIEWS)

    def train() -> None:
        for view in views:
            step(lambda f, view=view: view.rasterize(f).image, features, gradient, [])

    train()
    spent = measure(train, 1)
    return views, Timing(spent.wall / len(cameras), spent.cpu / len(cameras))


def compiled(source: str, *options: str) -> ctypes.CDLL:
    """A C++ file beside this one as a library, compiled with -O3 by the compiler of CXX, or g++."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library.so"
        command = [os.environ.get("CXX", "g++"), "-O3", *options, "-shared", "-fPIC", Path(__file__).with_name(source)]
        subprocess.run([*command, "-o", library], check=True)
        return ctypes.CDLL(str(library))


def table(title: str, head: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(f'{value:.3g}' if isinstance(value, float) else str(value) for value in row)} |", flush=True)


@dataclass
class Scene:
    """Gaussians and cameras. Single-view tables use the first camera."""

    gaussians: GaussianModel
    cameras: list[Camera]

    @classmethod
    def random(cls, count: int, size: float, views: int = 1) -> "Scene":
        """About half of the Gaussians are outside the image.

        `size` is the median standard deviation in world units, at depths of 2 to 8.
        """
        generator = torch.Generator().manual_seed(0)
        place = torch.rand(count, 3, generator=generator)
        z = 2 + 6 * place[:, 2]
        x, y = ((place[:, i] - 0.5) * z * side / FOCAL * 1.42 for i, side in ((0, WIDTH), (1, HEIGHT)))
        log_scales = math.log(size) + 0.6 * torch.randn(count, 3, generator=generator)
        logits = 1.5 * torch.randn(count, 1, generator=generator)
        quats = torch.randn(count, 4, generator=generator)
        colors = torch.zeros(count, 1, 3), torch.zeros(count, 0, 3)
        cameras = []
        for i in range(views):
            pose = np.eye(4)
            pose[0, 3] = SPREAD * (i / views - 0.5) if i else 0.0
            cameras.append(Camera(f"{i}", pose, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT))
        return cls(GaussianModel(torch.stack([x, y, z], 1), log_scales, quats, logits, *colors, 0), cameras)

    @classmethod
    def trained(cls, model: Path) -> "Scene":
        """The Gaussians that `train.py` left in a model folder, from its training cameras."""
        trained = load_trained(ModelFolder(model))
        return cls(trained.gaussians, list(trained.scene().train))

    @cached_property
    def geometry(self) -> list[Tensor]:
        """Means, scales, rotations and opacities."""
        g = self.gaussians
        return [t.detach().contiguous() for t in (g.means, g.scales, g.rotations, g.opacities)]

    @cached_property
    def view(self) -> View:
        """From the first camera."""
        return view_of(self.cameras[0])

    @property
    def pixels(self) -> int:
        """Of the first camera."""
        return self.view.width * self.view.height

    def prepared(self) -> PreparedView:
        """From the first camera."""
        return prepare(self.view, *self.geometry)

    def features(self, channels: int) -> Tensor:
        """Random channels that require a gradient."""
        return torch.rand(len(self.gaussians), channels).requires_grad_()

    def image_gradient(self, channels: int) -> Tensor:
        """Random numbers [channels, H, W]."""
        return torch.randn(channels, self.view.height, self.view.width)

    def label_maps(self, cells: tuple[int, ...] = (30, 120, 400)) -> Tensor:
        """A level of Voronoi cells for each number; every seventh cell has no label."""
        generator = torch.Generator().manual_seed(1)
        height, width = self.view.height, self.view.width
        rows, columns = torch.meshgrid(torch.arange(0.0, height, 4), torch.arange(0.0, width, 4), indexing="ij")
        levels = []
        for count in cells:
            centres = torch.rand(count, 2, generator=generator) * torch.tensor([height, width])
            nearest = torch.cdist(torch.stack([rows, columns], -1).reshape(-1, 2), centres).argmin(1).reshape(rows.shape)
            nearest[nearest % 7 == 0] = -1
            levels.append(nearest.repeat_interleave(4, 0).repeat_interleave(4, 1)[:height, :width])
        return torch.stack(levels).int()
