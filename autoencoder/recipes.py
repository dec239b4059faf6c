"""How the autoencoder is fitted by default, for segments and for patch tokens: as published, or faster."""

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
    """Adam's step size, at the start when it decays."""
    schedule: Schedule = "constant"
    """Whether the step size stays or falls to zero along a half cosine."""
    cosine_axis: CosineAxis = "feature"
    """Axis of the cosine in the loss. Deviates from LangSplat's code, which takes it over the batch."""
    cosine_weight: float = 1e-3
    """Weight of 1 - cosine beside the mean squared error."""
    seed: int = 0
    """Of the initial weights and of the order of embeddings."""


# The published step sizes, batches and epochs are LangSplat's for segments and DinoSplat's for patch tokens. The fast ones
# end at a step size of zero, which is worth half the epochs, and larger batches cost less each; docs/language.md compares.
SEGMENTS = {"published": Recipe(100, 64, 7e-4), "fast": Recipe(50, 128, 2e-3, "cosine")}
PATCHES = {"published": Recipe(100, 1024, 1e-3), "fast": Recipe(50, 1024, 1.5e-3, "cosine")}

CODE_WIDTH = 3  # as published

# Share of all embeddings that is fitted; the others measure. Deviates from LangSplat, which fits all of them and
# measures nothing else.
SEGMENT_SHARE, PATCH_SHARE = 0.95, 0.2
