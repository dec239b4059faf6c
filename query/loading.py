"""The finished language field of a model folder, of whichever kind it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from autoencoder.compressor import Compressor, GaussianCodes
from autoencoder.kinds import load_compressor
from autoencoder.mixtures import load_mixtures
from autoencoder.vectors import load_vectors
from gaussian_renderer.trained_model import TrainedModel, load_trained
from query.code_field import CodeField
from query.field import LanguageField
from query.mixture_field import MixtureField
from workspace import InputError, ModelFolder
from workspace.files import file_digest
from workspace.record_types import CompressorRecord, FeatureSettings, LanguageRecord
from workspace.stage_record import require


def load_field(model: ModelFolder, device: torch.device, level: str | None = None) -> LanguageField:
    """The finished language field of `model`, at one `level` or at all levels that a query chooses among.

    A query chooses among the levels s, m, l as published; `default`, SAM's own pooled list, is used only when requested
    or when there is no other level.

    Raises:
        InputError: a stage has not run, the codes belong to other Gaussians, or there is no such level.
    """
    command = model.language_command
    record = require(model.language, LanguageRecord, command)
    trained = load_trained(model, record.config.gaussians, device)
    compressor = load_compressor(model, device)
    features = require(model.autoencoder, CompressorRecord, model.compressor_command).inputs.features
    levels = record.config.levels
    if level is not None and level not in levels:
        raise InputError(f"{model.language} has the levels {', '.join(levels)}, not {level!r}. Choose one of them with --level.")
    levels = (level,) if level else tuple(name for name in levels if name != "default") or levels
    if trained.gaussians.geometry_hash() != record.inputs.geometry:
        raise InputError(
            f"The codes in {model.language} belong to other Gaussians than {model.point_cloud(trained.iteration)}. "
            f"Train them again: {command} --overwrite"
        )
    if record.inputs.autoencoder not in (None, file_digest(model.compressor)):
        raise InputError(
            f"The codes in {model.language} were made with another compressor than {model.compressor}. "
            f"Train them again: {command} --overwrite"
        )
    parts = _Parts(model, trained, levels, features, compressor, command)
    return _FIELDS[compressor.gaussian_codes](parts)


@dataclass(frozen=True)
class _Parts:
    """Inputs that every kind of field is built from."""

    model: ModelFolder
    trained: TrainedModel
    levels: tuple[str, ...]
    features: FeatureSettings
    compressor: Compressor
    command: str
    """Command that trains the field again."""


def _code_field(parts: _Parts) -> CodeField:
    count, width = len(parts.trained.gaussians), parts.compressor.code_width
    remedy = f"Train it again: {parts.command} --overwrite"
    codes = [load_vectors(parts.model.level_codes(name), count, width, remedy) for name in parts.levels]
    channels = parts.compressor.blended(torch.cat(codes, 1).to(parts.trained.gaussians.means.device))
    return CodeField(parts.trained, parts.levels, parts.features, channels, parts.compressor)


def _mixture_field(parts: _Parts) -> MixtureField:
    count, codebook, device = len(parts.trained.gaussians), parts.compressor, parts.trained.gaussians.means.device
    remedy = f"Lift it again: {parts.command} --overwrite"
    mixtures = tuple(
        load_mixtures(parts.model.level_codes(level), count, len(codebook.centroids(level)), device, remedy)
        for level in parts.levels
    )
    return MixtureField(parts.trained, parts.levels, parts.features, mixtures, codebook)


_FIELDS: Mapping[GaussianCodes, Callable[[_Parts], LanguageField]] = {"vectors": _code_field, "mixtures": _mixture_field}
