"""Settings of stage 3, language, and the inputs shared by all methods of computing codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from autoencoder.compressor import Compressor, FieldPreset
from features.feature_store import FeatureStore
from gaussian_renderer.trained_model import TrainedModel
from scene.dataset import Scene
from workspace import InputError
from workspace.device import Device

Init = Literal["zero", "lift"]
Samples = Literal["all", "centre"]


@dataclass(frozen=True)
class LanguageTrainConfig:
    """Settings of the language field. The defaults are those of LangSplat (Qin et al. 2024)."""

    source_path: Annotated[Path | None, tyro.conf.arg(aliases=["-s"])] = None
    """Scene folder with features; the one of RGB training when not given."""
    model_path: Annotated[Path | None, tyro.conf.arg(aliases=["-m"])] = None
    """Model folder with trained Gaussians and codes; output/<scene> when not given."""
    field: str | None = None
    """Which codes of the model folder; when not given the only ones, else published."""
    feature_level: Literal[0, 1, 2, 3] | None = None
    """Train one level only: 0 default, 1 s, 2 m, 3 l. All of s, m, l when not given; patch features have one level."""
    preset: FieldPreset | None = None
    """published: 30,000 iterations from zero. fast: 200 from lifted codes; docs/language.md compares them. When not given,
    published for codes of an autoencoder and fast for principal components."""
    iterations: int | None = None
    """Iterations, one photograph each; the preset's when not given."""
    init: Init | None = None
    """Initial codes: zero, or lift, the mean of the codes at the pixels each Gaussian covers; the preset's when not given."""
    language_feature_lr: float = 2.5e-3
    """Adam's step size, in units of a code."""
    codes_per_gaussian: int | None = None
    """Codes of a codebook that a Gaussian keeps at each level; 2 when not given."""
    samples: Samples = "all"
    """Pixels that a codebook is lifted from: all that a Gaussian covers, or the one at its projected centre in each view."""
    iteration: int = -1
    """Iteration of the Gaussians; -1 is the last."""
    view_cache_gb: float = 4.0
    """Gigabytes for views prepared once instead of at every use and, on a CPU, for their blending weights."""
    seed: int = 0
    """Seed of the order of photographs."""
    checkpoint_interval: int = 1_000
    """Iterations between resumable checkpoints; the newest is kept until training ends. 0: only when interrupted. A codebook
    is lifted with a checkpoint every two minutes."""
    resume: bool = True
    """Continue from the checkpoint of an interrupted run."""
    overwrite: bool = False
    """Replace a language field made with other settings."""
    device: Device = "auto"
    """auto takes the GPU when there is one."""


def refuse_meaningless(config: LanguageTrainConfig) -> None:
    """Raise InputError for numbers outside their range."""
    for name in ("iterations", "checkpoint_interval", "view_cache_gb"):
        value = getattr(config, name)
        if value is not None and not value >= 0:
            raise InputError(f"--{name} {value}: expected 0 or more.")
    if not config.language_feature_lr > 0:
        raise InputError(f"--language_feature_lr {config.language_feature_lr}: expected a positive step size.")


@dataclass(frozen=True)
class LanguageRun:
    """Inputs of a run that trains or lifts a language field."""

    trained: TrainedModel
    """The frozen Gaussians."""
    scene: Scene
    store: FeatureStore
    """The features that `compressor` was fitted to."""
    compressor: Compressor
    levels: tuple[str, ...]
    device: torch.device
