"""Stage 3, language: codes of the frozen Gaussians, optimised or lifted depending on the compressor."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoencoder.compressor import Compressor, GaussianCodes
from autoencoder.kinds import load_compressor
from features.feature_store import FeatureStore
from features.registry import open_store
from gaussian_renderer.trained_model import TrainedModel, load_trained
from scene.dataset import Scene
from scene.photographs import names_text
from training.language_config import LanguageRun, LanguageTrainConfig, refuse_meaningless
from training.language_quality import lifted_table, table
from training.language_trainer import code_settings, train_codes
from training.lifting import lift_mixtures, lifting_settings
from workspace import InputError, ModelFolder, SceneFolder
from workspace.device import chosen_device
from workspace.files import file_digest
from workspace.record_types import CompressorRecord, LanguageRecord, LanguageReport
from workspace.resume import delete_checkpoints
from workspace.stage_record import plain, require, stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldKind:
    """One method of computing the Gaussians' codes."""

    settings: Callable[[LanguageTrainConfig, Compressor, tuple[str, ...]], dict[str, Any]]
    """Settings that determine the result, with the defaults filled in. Raises InputError for invalid values."""
    train: Callable[[LanguageTrainConfig, LanguageRun, dict[str, Any]], LanguageReport]
    """Write the codes and return the report; continues an interrupted run."""
    report: Callable[[LanguageReport], str]
    """Format the report as text for the log."""


FIELD_KINDS: Mapping[GaussianCodes, FieldKind] = {
    "vectors": FieldKind(code_settings, train_codes, table),
    "mixtures": FieldKind(lifting_settings, lift_mixtures, lifted_table),
}


def train_language(config: LanguageTrainConfig) -> None:
    """Compute the language codes of a model's frozen Gaussians (stage 3, language).

    Raises:
        InputError: an earlier stage has not run, or features, codes and Gaussians do not match.
    """
    refuse_meaningless(config)
    device = chosen_device(config.device)
    model = ModelFolder.of(config.source_path, config.model_path).reading(config.field, "autoencoder")
    trained = load_trained(model, config.iteration, device)
    scene = trained.scene(config.source_path)
    _refuse_replaced(trained, scene)
    store = _compressed_features(scene.folder, model)
    compressor = load_compressor(model, device)
    levels = _levels(config.feature_level, store)
    kind = FIELD_KINDS[compressor.gaussian_codes]
    settings = {"levels": levels, **kind.settings(config, compressor, levels), "gaussians": trained.iteration}
    inputs = {
        "geometry": trained.gaussians.geometry_hash(),
        "autoencoder": file_digest(model.compressor),
        "features": store.settings,
    }
    with stage(model.language, LanguageRecord, settings, inputs, config.overwrite) as run:
        if config.overwrite or not config.resume:
            delete_checkpoints(model, "language")
        if config.resume and run.report is not None and all(model.level_codes(level).exists() for level in levels):
            log.info("Already trained; --no-resume trains again.")
        else:
            field = LanguageRun(trained, scene, store, compressor, levels, device)
            run.report = kind.train(config, field, plain({**settings, **inputs}))
            delete_checkpoints(model, "language")
        log.info("%s\n%.0f s: %s", kind.report(run.report), run.report.seconds, model.language)


def _refuse_replaced(trained: TrainedModel, scene: Scene) -> None:
    """Raise InputError when photographs were replaced after RGB training: Gaussians and features would not match."""
    if Path(trained.config.source_path) != scene.folder.root.resolve():
        return  # the user chose another folder, for example one with smaller photographs
    changed = [name for name, digest in scene.photographs.items() if trained.photographs.get(name, digest) != digest]
    if changed:
        raise InputError(
            f"{len(changed)} photographs of {scene.folder.root} were replaced since the Gaussians in {trained.folder.root} were "
            f"trained: {names_text(changed)}. Train these first: "
            f"python train.py -s {scene.folder.root} -m {trained.folder.root} --overwrite"
        )


def _compressed_features(scene: SceneFolder, model: ModelFolder) -> FeatureStore:
    """The scene's features; InputError unless the compressor was fitted to them."""
    command = model.compressor_command_on(scene.root)
    fitted = require(model.autoencoder, CompressorRecord, command).inputs
    store = open_store(scene, fitted.features.extractor)
    if store.settings != fitted.features:
        raise InputError(
            f"The codes in {model.autoencoder} are of features made with {fitted.features};\n{scene.root} has {store.settings}. "
            f"Compress these: {command} --overwrite"
        )
    made = store.refuse_replaced()
    if fitted.photographs not in (None, made):  # an imported compressor has no record of photographs
        raise InputError(
            f"The features of {scene.root} were made again since {model.autoencoder}, from other photographs. "
            f"Compress these: {command} --overwrite"
        )
    return store


def _levels(feature_level: int | None, store: FeatureStore) -> tuple[str, ...]:
    if feature_level is None:
        return store.trained_levels
    if len(store.levels) == 1:
        raise InputError(f"{store.extractor} features have one level; leave --feature_level out.")
    return (store.levels[feature_level],)
