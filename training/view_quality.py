"""How well Gaussians reproduce photographs: PSNR and SSIM per view, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypedDict

import torch

from gaussian_renderer import render
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from scene.photographs import PhotographCache
from training.losses import psnr
from training.photograph_stream import picture
from training.ssim import ssim
from workspace import read_typed


class ViewQuality(TypedDict):
    """PSNR in dB, SSIM in -1..1."""

    psnr: float
    ssim: float


Quality = dict[str, ViewQuality]
"""By name of the view."""


@dataclass(frozen=True)
class RgbMetrics:
    """What training reports of a finished model."""

    iteration: int
    gaussians: int
    seconds: float
    views: dict[str, Quality]
    """By split: held-out views, and a sample of the training views."""


MOST_TRAIN_VIEWS = 10


@torch.no_grad()
def measure_views(
    gaussians: GaussianModel, cameras: Sequence[Camera], photographs: PhotographCache, background: torch.Tensor
) -> Quality:
    """PSNR and SSIM of the rendering at each camera, clamped to 0..1, against its photograph."""
    quality = {}
    for camera in cameras:
        target = picture(photographs.load(camera), gaussians.means.device)
        image = render(camera, gaussians, background).image.clamp(0, 1)
        quality[camera.name] = {"psnr": psnr(image, target), "ssim": ssim(image, target).item()}
    return quality


def read_metrics(path: Path) -> RgbMetrics:
    """The metrics of a finished training; InputError when the file is damaged."""
    return read_typed(path, RgbMetrics, "Train again with --no-resume.")


def train_sample(cameras: Sequence[Camera]) -> list[Camera]:
    """At most ten training views, evenly spaced: enough to compare their quality with that of the held-out views."""
    step = -(-len(cameras) // MOST_TRAIN_VIEWS)
    return list(cameras[::step])


def summary(quality: Quality) -> dict[str, float]:
    """Mean PSNR and SSIM over the views."""
    return {name: fmean(view[name] for view in quality.values()) for name in ("psnr", "ssim")}


def table(splits: Mapping[str, Quality]) -> str:
    """One line per held-out view, then the mean of each split that has views."""
    rows = [(f"  {name}", view["psnr"], view["ssim"]) for name, view in splits.get("test", {}).items()]
    rows += [(f"{split} mean of {len(quality)}", *summary(quality).values()) for split, quality in splits.items() if quality]
    width = max((len(name) for name, *_ in rows), default=4)
    lines = [f"{'view':<{width}}  PSNR dB    SSIM"]
    lines += [f"{name:<{width}}  {decibels:7.2f}  {similarity:6.4f}" for name, decibels, similarity in rows]
    return "\n".join(lines)
