"""Seconds of the stages after the features, from a few iterations on random Gaussians at the size of the photographs."""

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from autoencoder.fitting import fit
from autoencoder.network import Autoencoder, published_widths
from autoencoder.recipes import SEGMENTS
from features.cost import peak_memory
from gaussian_renderer import prepare_view, render
from query.answer_rule import answer
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from training.losses import photometric_loss
from training.rgb_state import RgbState

GAUSSIANS = 100_000  # of a small room after --preset fast
SEGMENTS_EACH = 300  # of a photograph, all levels together
SIDE = 48  # pixels of a square that stands for a segment
RATES = {"means": 1e-5, "log_scales": 5e-3, "quats": 1e-3, "opacity_logits": 0.05, "sh_dc": 2.5e-3, "sh_rest": 1.25e-4}


@dataclass(frozen=True)
class StageCosts:
    """Seconds of the units that stages repeat, and the peak memory of measuring them."""

    rgb_iteration: float
    embedding_epoch: float
    """Fitting the autoencoder: one embedding, once."""
    lifted_view: float
    """Lifting one photograph at the levels s, m and l."""
    question: float
    """One phrase in one view at three levels: rendering and rule."""
    memory: float


def stage_costs(width: int, height: int, device: str, threads: int) -> StageCosts:
    """Measure at photographs of this size; call it in a process of its own."""
    torch.set_num_threads(threads)
    where = torch.device(device)
    gaussians, camera = _cube(where), _camera(width, height)
    photograph = torch.rand(3, height, width).to(where)
    state = RgbState.start(gaussians, RATES, seed=0)

    def iteration() -> None:
        means2d = torch.zeros(GAUSSIANS, 2, device=where, requires_grad=True)
        drawn = render(camera, state.gaussians, torch.zeros(3, device=where), means2d=means2d)
        photometric_loss(drawn.image, photograph).backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)

    rows = torch.nn.functional.normalize(torch.randn(4096, 512), dim=1).to(where)

    def epoch() -> None:
        network = Autoencoder(*published_widths(512, 3)).to(where)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar would stand between the tables
            fit(network, rows, rows[:256], replace(SEGMENTS["fast"], epochs=1))

    frozen = _cube(where)
    labels = _squares(width, height).to(where)

    def lift() -> None:
        prepare_view(camera, frozen).lift(labels)

    prepared, scores = prepare_view(camera, frozen), torch.rand(GAUSSIANS, 3).to(where)

    def ask() -> None:
        answer(prepared.rasterize(scores).image)

    return StageCosts(
        _seconds(iteration, where, 3),
        _seconds(epoch, where, 1) / len(rows),
        _seconds(lift, where, 1),
        _seconds(ask, where, 2),
        peak_memory(),
    )


def _seconds(run: Callable[[], None], device: torch.device, repeats: int) -> float:
    run()  # the first one also allocates
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - begin) / repeats


def _cube(device: torch.device) -> GaussianModel:
    """Gaussians filling a cube of side 2, as wide as their spacing, half opaque."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(GAUSSIANS, 3, generator=generator) * 2 - 1
    gaussians = GaussianModel.from_points(points, torch.rand(GAUSSIANS, 3, generator=generator) * 255)
    gaussians.opacity_logits = torch.randn(GAUSSIANS, 1, generator=generator)
    return gaussians.to(device)


def _camera(width: int, height: int) -> Camera:
    """Looks at the cube from a distance of 3; the cube fills the view."""
    world_to_camera = np.eye(4)
    world_to_camera[2, 3] = 3.0
    return Camera("front", world_to_camera, width * 1.1, width * 1.1, width / 2, height / 2, width, height)


def _squares(width: int, height: int) -> torch.Tensor:
    """Label maps int32 [3, height, width] of squares: noise would take many times longer to lift than segments do."""
    labels = torch.randint(SEGMENTS_EACH, (3, height // SIDE + 1, width // SIDE + 1), dtype=torch.int32)
    return labels.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)[:, :height, :width].contiguous()
