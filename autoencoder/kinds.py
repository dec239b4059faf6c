"""The kinds of compressor, and compressors on disk. A new kind is one file that implements `Compressor` and one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoencoder.codebook import Codebook, codebook_settings, fit_codebook
from autoencoder.compressor import Compressor
from autoencoder.config import AutoencoderConfig
from autoencoder.embeddings import Embeddings
from autoencoder.fitting import autoencoder_settings, fit_autoencoder
from autoencoder.network import Autoencoder
from autoencoder.pca import PCA, fit_pca, pca_settings
from features.feature_store import FeatureStore
from workspace import InputError, ModelFolder
from workspace.record_types import CompressorRecord
from workspace.stage_record import require
from workspace.tensor_files import load_tensors, save_tensors


@dataclass(frozen=True)
class Kind:
    """One kind of compressor: its class, the settings that determine a fit, and the fit."""

    compressor: type[Compressor]
    settings: Callable[[AutoencoderConfig, FeatureStore], dict[str, Any]]
    """Settings from the command line and the features, with the defaults filled in. Raises InputError for invalid values."""
    fit: Callable[[Embeddings, Mapping[str, Any], ModelFolder], Compressor]
    """Fit from embeddings, settings, and the model folder that holds the checkpoints of an interrupted fit."""


KINDS: Mapping[str, Kind] = {
    "autoencoder": Kind(Autoencoder, autoencoder_settings, fit_autoencoder),
    "pca": Kind(PCA, pca_settings, fit_pca),
    "codebook": Kind(Codebook, codebook_settings, fit_codebook),
}


def read_compressor(path: Path, device: torch.device | str = "cpu", remedy: str = "Copy it again.") -> Compressor:
    """Read one of our compressors or LangSplat's `best_ckpt.pth`; nothing in the file is executed.

    Raises:
        InputError: the file is missing, damaged, or not a compressor; the message ends with the `remedy`.
    """
    if not path.is_file():
        raise InputError(f"No compressor {path}. {remedy}")
    kind = "the state dict of a LangSplat autoencoder (encoder.<i>.*, decoder.<i>.*), of principal components or of a codebook"
    expected = f"expected {kind}"
    state = load_tensors(path, kind, remedy, device=device)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise InputError(f"{path} holds a {type(state).__name__}, not named tensors; {expected}. {remedy}")
    try:
        state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        _check_tensors(state)
        cls = next((kind.compressor for kind in KINDS.values() if kind.compressor.names(state.keys())), Autoencoder)
        return cls.from_state_dict(state).to(device).requires_grad_(False)
    except ValueError as error:
        raise InputError(f"{path} does not hold a compressor: {error}; {expected}. {remedy}") from None


def _check_tensors(state: Mapping[str, Tensor]) -> None:
    """ValueError for tensors that no compressor can have."""
    for name, value in state.items():
        counter = name.endswith("num_batches_tracked")
        if not (value.is_floating_point() or (counter and value.dtype == torch.int64)):
            raise ValueError(f"{name} holds {value.dtype}, not real numbers")
        if value.numel() == 0:
            raise ValueError(f"{name} {list(value.shape)} is empty")
        if not counter and not value.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")


def write_compressor(path: Path, compressor: Compressor) -> None:
    """Write the weights; those of an autoencoder are a LangSplat checkpoint."""
    save_tensors(path, {name: value.cpu() for name, value in compressor.state_dict().items()})


def load_compressor(model: ModelFolder, device: torch.device | str = "cpu") -> Compressor:
    """The finished compressor of a model folder; InputError with the command that creates it when it is missing."""
    command = model.compressor_command
    require(model.autoencoder, CompressorRecord, command)
    return read_compressor(model.compressor, device, f"Make it again: {command} --overwrite")
