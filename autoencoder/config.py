"""Settings of stage 2."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from autoencoder.recipes import CosineAxis, Preset, Schedule
from features.registry import ExtractorName
from workspace.device import Device

Tokens = Literal["raw", "unit"]
Method = Literal["autoencoder", "pca", "codebook"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """Compress a scene's features to a few channels and write the codes of every image.

    A run that was stopped continues when the same command is given again.
    """

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder with extracted features."""
    model_path: Annotated[Path | None, tyro.conf.arg(aliases=["-m"])] = None
    """Model folder; by default output/<scene>."""
    features: ExtractorName | None = None
    """Which features, when the scene has segments and patch grids."""
    method: Method = "autoencoder"
    """The published network; principal components: seconds instead of minutes, linear, best with 16 channels or more; or a
    codebook, whose language field is lifted in one pass over the photographs instead of trained (docs/language.md)."""
    field: str | None = None
    """Name of the language field this is for; a model folder can hold several. When not given: published, pca
    for principal components, lifted for a codebook."""
    code_width: int | None = None
    """Channels of a code; 3 when not given. For a codebook the channels that are rendered, 32 when not given."""
    codebook_size: int | None = None
    """Codes of a codebook at each level; 256 when not given."""
    checkpoint: Path | None = None
    """Take this compressor instead of fitting one: LangSplat's best_ckpt.pth or another model's compressor.pth."""
    checkpoint_tokens: Tokens | None = None
    """Whether the network of --checkpoint takes embeddings as they are (raw) or normalised (unit). When not given: as
    its model folder says, raw for DinoSplat's, unit for LangSplat's."""
    preset: Preset = "published"
    """published: 100 epochs. fast: half of them, larger steps that fall to zero. The next four override either."""
    epochs: int | None = None
    """Passes over the fitted embeddings; 100 (published) or 50 (fast) when not given."""
    batch_size: int | None = None
    """Embeddings per update; 64 (fast: 128) for segments and 1024 for patch tokens when not given."""
    lr: float | None = None
    """Adam's step size; 7e-4 (fast: 2e-3) for segments and 1e-3 (fast: 1.5e-3) for patch tokens when not given."""
    schedule: Schedule | None = None
    """Whether the step size stays or falls to zero along a half cosine; constant (fast: cosine) when not given."""
    cosine_axis: CosineAxis = "feature"
    """Axis of the cosine in the loss; the published code takes it over the batch."""
    train_share: float | None = None
    """Share of all embeddings to fit, the others are held out; by default 0.95 for segments, 0.2 for patch tokens, 0.95 of
    either for principal components, and all segments for a codebook."""
    seed: int = 0
    """Seed of the initial weights, the split and the order of embeddings."""
    device: Device = "auto"
    """Where to fit."""
    overwrite: bool = False
    """Replace a compressor made with other settings."""
