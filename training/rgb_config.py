"""Settings of stage 3, RGB."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from training.schedule import Preset
from workspace import InputError
from workspace.device import Device


@dataclass(frozen=True)
class RgbTrainConfig:
    """Settings of RGB training. The defaults are those of 3D Gaussian Splatting (Kerbl et al. 2023)."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder: images/ with sparse/0/, transforms_train.json or transforms.json."""
    model_path: Annotated[Path | None, tyro.conf.arg(aliases=["-m"])] = None
    """Folder for what is learned; output/<scene> when not given."""
    images: Annotated[str, tyro.conf.arg(aliases=["-i"])] = "images"
    """Folder of the photographs inside the scene."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["-r"])] = -1
    """-1 keeps the photographs' size up to 1080 pixels high; 1, 2, 4 or 8 divides it; another value is the largest width."""
    eval: bool = False
    """Hold out every 8th photograph by name for the test measures."""
    white_background: bool = False
    """White behind the Gaussians instead of black."""
    ignore_distortion: bool = False
    """Take SIMPLE_RADIAL, RADIAL and OPENCV cameras for pinholes, as LangSplat does. Distortion of less than half a pixel is
    always ignored."""
    preset: Preset = "published"
    """published: the schedule of the paper. fast: a short one for CPUs, docs/rgb.md says what it changes."""
    iterations: int | None = None
    """Iterations, one photograph each; 30,000 (published) or 1,500 (fast) when not given."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Highest degree of the spherical harmonics of view-dependent colours."""
    position_lr_init: float = 1.6e-4
    """First learning rate of positions, times the scene's extent."""
    position_lr_final: float = 1.6e-6
    """Last learning rate of positions, times the scene's extent."""
    feature_lr: float = 2.5e-3
    """Learning rate of the constant colour; the view-dependent part has a twentieth of it."""
    opacity_lr: float = 0.05
    """Learning rate of opacity logits."""
    scaling_lr: float = 5e-3
    """Learning rate of log scales."""
    rotation_lr: float = 1e-3
    """Learning rate of quaternions."""
    lambda_dssim: float = 0.2
    """Share of 1 - SSIM in the loss; the rest is L1."""
    densify_grad_threshold: float = 2e-4
    """Gaussians whose projected mean has a larger mean gradient are cloned or split, normalised device units."""
    percent_dense: float = 0.01
    """Share of the scene's extent: smaller Gaussians are cloned, larger ones split."""
    fixed_points: bool = False
    """Gaussian i stays point i of the scene: positions do not move, none is added or removed. ScanNet's protocol needs it."""
    start_checkpoint: Path | None = None
    """Gaussians to start from instead of points: a .ply (from iteration 0) or chkpnt*.pth (from its iteration)."""
    seed: int = 0
    """Seed of the order of photographs and of the positions of split Gaussians."""
    save_iterations: tuple[int, ...] = ()
    """Also write point_cloud.ply after these iterations."""
    test_iterations: tuple[int, ...] = ()
    """Also measure the held-out photographs after these iterations."""
    checkpoint_interval: int = 1_000
    """Iterations between resumable checkpoints; the newest is kept until training ends. 0: only when interrupted."""
    resume: bool = True
    """Continue from the checkpoint of an interrupted run."""
    overwrite: bool = False
    """Replace what was trained before with other settings."""
    device: Device = "auto"
    """auto takes the GPU when there is one."""


def refuse_meaningless(config: RgbTrainConfig) -> None:
    """Raise InputError for numbers outside their range."""
    for name in ("iterations", "checkpoint_interval"):
        value = getattr(config, name)
        if value is not None and value < 0:
            raise InputError(f"--{name} {value}: expected 0 or more.")
    for name in ("position_lr_init", "position_lr_final", "feature_lr", "opacity_lr", "scaling_lr", "rotation_lr"):
        if not getattr(config, name) > 0:
            raise InputError(f"--{name} {getattr(config, name)}: expected a positive step size.")
    if not 0 <= config.lambda_dssim <= 1:
        raise InputError(f"--lambda_dssim {config.lambda_dssim}: expected a share from 0 to 1.")
