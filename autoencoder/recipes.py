"""Default settings of the autoencoder's fit, for segments and for patch tokens: as published, or faster."""

from dataclasses import dataclass
from typing import Literal

Preset = Literal["published", "fast"]
Schedule = Literal["constant", "cosine"]
CosineAxis = Literal["feature", "batch"]


@dataclass(frozen=True)
class Recipe:
    """Settings of one fit."""

    epochs: int
    """Passes over the training embeddings."""
    batch_size: int
    """Embeddings per update."""
    lr: float
    """Adam's step size; the initial one when it decays."""
    schedule: Schedule = "constant"
    """Whether the step size stays or falls to zero along a half cosine."""
    cosine_axis: CosineAxis = "feature"
    """Axis of the cosine in the loss. Deviates from LangSplat's code, which takes it over the batch."""
    cosine_weight: float = 1e-3
    """Weight of 1 - cosine in the loss; the mean squared error has weight 1."""
    seed: int = 0
    """Seed of the initial weights and of the order of embeddings."""


# The published step sizes, batches and epochs are LangSplat's for segments and DinoSplat's for patch tokens. The fast ones
# decay the step size to zero, which saves half the epochs, and larger batches cost less each; docs/language.md compares them.
SEGMENTS = {"published": Recipe(100, 64, 7e-4), "fast": Recipe(50, 128, 2e-3, "cosine")}
PATCHES = {"published": Recipe(100, 1024, 1e-3), "fast": Recipe(50, 1024, 1.5e-3, "cosine")}

CODE_WIDTH = 3  # as published

# Share of all embeddings that is fitted; the others are held out to measure on. Deviates from LangSplat, which fits all of
# them and holds out none.
SEGMENT_SHARE, PATCH_SHARE = 0.95, 0.2
