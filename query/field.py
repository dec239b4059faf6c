"""The language field of a model, as code maps of any view."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.kinds import load_compressor
from gaussian_renderer import prepare_view
from gaussian_renderer.trained_model import TrainedModel, load_trained
from scene.camera import Camera
from workspace import InputError, ModelFolder, load_array
from workspace.record import require
from workspace.records import CompressorRecord, FeatureSettings, LanguageRecord


@dataclass(frozen=True)
class LanguageField:
    """Gaussians, their codes at every level asked for, and the compressor the codes belong to."""

    trained: TrainedModel
    levels: tuple[str, ...]
    channels: Float[Tensor, "n lc"]
    """What is blended: the codes of all levels side by side."""
    compressor: Compressor
    features: FeatureSettings
    """Settings of the features the field was trained on; it says which text encoder fits."""

    def code_maps(self, camera: Camera) -> Float[Tensor, "levels c h w"]:
        """Rendered codes of one view, all levels in one pass; zero where there is no Gaussian."""
        with torch.inference_mode():
            image = prepare_view(camera, self.trained.gaussians).rasterize(self.channels).image
        return image.unflatten(0, (len(self.levels), -1))

    def fingerprint(self) -> dict[str, str]:
        """Hashes of geometry and codes: what the answers of this field depend on."""
        codes = hashlib.sha256(self.channels.cpu().numpy().tobytes()).hexdigest()
        return {"geometry": self.trained.gaussians.geometry_hash(), "language": codes}


def load_field(model: ModelFolder, device: torch.device, level: str | None = None) -> LanguageField:
    """The finished language field of `model`, at one `level` or at all that a query chooses among.

    A query chooses among the levels s, m, l as published; `default`, SAM's own pooled list, counts only when asked for
    or when there is no other.

    Raises:
        InputError: a stage has not run, the codes belong to other Gaussians, or there is no such level.
    """
    command = f"python train.py -s <scene> -m {model.root} --include_feature"
    record = require(model.language, LanguageRecord, command)
    trained = load_trained(model, record.config.gaussians, device)
    compressor = load_compressor(model, device)
    features = require(model.autoencoder, CompressorRecord, "python train_autoencoder.py -s <scene>").inputs.features
    levels = record.config.levels
    if level is not None and level not in levels:
        raise InputError(f"{model.language} has the levels {', '.join(levels)}, not {level!r}. Choose one of them with --level.")
    levels = (level,) if level else tuple(name for name in levels if name != "default") or levels
    if trained.gaussians.geometry_hash() != record.inputs.geometry:
        raise InputError(
            f"The codes in {model.language} belong to other Gaussians than {model.point_cloud(trained.iteration)}. "
            f"Train them again: {command} --overwrite"
        )
    shape = len(trained.gaussians), compressor.code_width
    codes = [torch.from_numpy(_read_level(model.level_codes(name), shape, command)) for name in levels]
    channels = compressor.blended(torch.cat(codes, 1).to(device))
    return LanguageField(trained, levels, channels, compressor, features)


def _read_level(path: Path, shape: tuple[int, int], command: str) -> np.ndarray:
    codes = load_array(path)
    if codes.shape != shape:
        raise InputError(f"{path} has shape {codes.shape}, expected {shape}. Train it again: {command} --overwrite")
    return codes
