"""The compressor of a model, whichever kind it is: what turns embeddings into codes and rendered codes back."""

from pathlib import Path

import torch
from torch import Tensor

from autoencoder.network import Autoencoder
from autoencoder.pca import PCA
from workspace import InputError, ModelFolder
from workspace.record import require
from workspace.tensor_files import load_tensors, save_tensors

TRAIN_COMMAND = "python train_autoencoder.py -s <scene>"


Compressor = Autoencoder | PCA
"""What every later stage sees: `encode`, `decode`, `feature_width`, `code_width`, and `method`, the name of the kind."""


def read_compressor(path: Path, device: torch.device | str = "cpu") -> Compressor:
    """Read one of our compressors or LangSplat's `best_ckpt.pth`; nothing in the file is executed.

    Raises:
        InputError: the file is missing, damaged, or of something else.
    """
    if not path.is_file():
        raise InputError(f"No compressor {path}. Run: {TRAIN_COMMAND}")
    kind = "the state dict of a LangSplat autoencoder (encoder.<i>.*, decoder.<i>.*) or of principal components"
    expected, remedy = f"expected {kind}", f"Copy it again, or make one: {TRAIN_COMMAND} --overwrite"
    state = load_tensors(path, kind, remedy, device=device)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds a {type(state).__name__}, not named tensors; {expected}.")
    try:
        cls = PCA if "directions" in state else Autoencoder
        return cls.from_state_dict(state).to(device).requires_grad_(False)
    except ValueError as error:
        raise InputError(f"{path} does not hold a compressor: {error}; {expected}.") from None


def write_compressor(path: Path, compressor: Compressor) -> None:
    """Write the weights; those of an autoencoder are a LangSplat checkpoint."""
    save_tensors(path, {name: value.cpu() for name, value in compressor.state_dict().items()})


def load_compressor(model: ModelFolder, device: torch.device | str = "cpu") -> Compressor:
    """The finished compressor of a model folder; InputError with the command that makes it when there is none."""
    require(model.autoencoder, "autoencoder", f"{TRAIN_COMMAND} -m {model.root}")
    return read_compressor(model.compressor, device)
