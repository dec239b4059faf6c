"""Export of a language field as dense features: one embedding per Gaussian, in a .npy file that other programs can read."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch.nn.functional as F
import tyro
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from autoencoder.compressor import Compressor, GaussianCodes
from autoencoder.kinds import load_compressor
from autoencoder.mixtures import load_mixtures
from autoencoder.vectors import load_vectors
from gaussian_renderer.trained_model import load_trained
from workspace import InputError, ModelFolder, atomic
from workspace.device import Device, chosen_device
from workspace.record_types import LanguageRecord
from workspace.stage_record import require

log = logging.getLogger(__name__)

CHUNK = 16384  # Gaussians decoded at once


@dataclass(frozen=True)
class ExportConfig:
    """Which field to export, and to which file."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder with a language field."""
    output: Path
    """Array file to write, ending in .npy."""
    field: str | None = None
    """Which language field, when the model has several."""
    level: str | None = None
    """Level of the field (default, s, m, l, grid); needed when it has several."""
    dtype: Literal["float16", "float32"] = "float16"
    """Type of the numbers: 2 or 4 bytes each."""
    device: Device = "auto"
    """Where to decode."""


def export_features(config: ExportConfig) -> None:
    """Write one embedding of unit length for each Gaussian, in the order of point_cloud.ply; zeros for those without a code.

    The array [n, d] is written in chunks, so that memory does not grow with the scene.

    Raises:
        InputError: there is no finished language field, or it has no such level.
    """
    if config.output.suffix != ".npy":
        raise InputError(f"--output {config.output}: expected a name that ends in .npy.")
    device = chosen_device(config.device)
    model = ModelFolder(config.model_path).reading(config.field)
    record = require(model.language, LanguageRecord, model.language_command)
    level = _level(config.level, record.config.levels)
    trained = load_trained(model, record.config.gaussians, device)
    compressor = load_compressor(model, device)
    count = len(trained.gaussians)
    embeddings = READERS[compressor.gaussian_codes](model, compressor, level, count)
    with atomic(config.output) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.dtype(config.dtype), (count, compressor.feature_width))
        for start in tqdm(range(0, count, CHUNK), desc="exporting", unit="part"):
            array[start : start + CHUNK] = embeddings(slice(start, start + CHUNK)).cpu().numpy()
        array.flush()
        del array
    log.info("%d embeddings of %d entries, level %s: %s", count, compressor.feature_width, level, config.output)


def _level(asked: str | None, levels: tuple[str, ...]) -> str:
    if asked in levels:
        return asked
    if asked is None and len(levels) == 1:
        return levels[0]
    found = "An export holds one level" if asked is None else f"There is no level {asked!r}"
    raise InputError(f"{found}; the field has the levels {', '.join(levels)}. Choose one: --level {levels[0]}")


Reader = Callable[[slice], Float[Tensor, "k d"]]


def _decoded(model: ModelFolder, compressor: Compressor, level: str, count: int) -> Reader:
    remedy = f"Train it again: {model.language_command} --overwrite"
    codes = load_vectors(model.level_codes(level), count, compressor.code_width, remedy)
    blended = compressor.blended(codes.to(next(iter(compressor.state_dict().values())).device))
    known = blended.ne(0).any(1, keepdim=True)
    return lambda rows: compressor.decode(blended[rows]) * known[rows]


def _mixed(model: ModelFolder, compressor: Compressor, level: str, count: int) -> Reader:
    table = compressor.centroids(level)
    mixtures = load_mixtures(
        model.level_codes(level), count, len(table), table.device, f"Lift it again: {model.language_command} --overwrite"
    )
    return lambda rows: F.normalize(mixtures[rows].blend(table), dim=1)


READERS: dict[GaussianCodes, Callable[[ModelFolder, Compressor, str, int], Reader]] = {"vectors": _decoded, "mixtures": _mixed}
