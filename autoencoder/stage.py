"""Stage 2: fit the scene's compressor, report its reconstruction, and write the codes of every image."""

import logging
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from autoencoder.compressor import Compressor
from autoencoder.config import AutoencoderConfig, Tokens
from autoencoder.embeddings import Embeddings
from autoencoder.kinds import KINDS, Kind, read_compressor, write_compressor
from autoencoder.reconstruction import measure
from features.feature_store import FeatureStore
from features.registry import open_store
from workspace import InputError, ModelFolder, SceneFolder, save_array
from workspace.device import chosen_device
from workspace.files import file_digest
from workspace.record_types import CompressorInputs, CompressorRecord, CompressorReport
from workspace.resume import delete_checkpoints
from workspace.stage_record import RECORD, read_record, stage

log = logging.getLogger(__name__)


def train_autoencoder(config: AutoencoderConfig) -> None:
    """Compress a scene's features to a few channels and write the codes of every image."""
    scene = SceneFolder(config.source_path)
    device = chosen_device(config.device)
    store, kind = open_store(scene, config.features), KINDS[config.method]
    model = ModelFolder.of(config.source_path, config.model_path, config.field or kind.compressor.field)
    settings = _settings(config, kind, store)
    inputs = CompressorInputs(store.settings, store.refuse_replaced())
    if config.overwrite:
        delete_checkpoints(model, "autoencoder")
    embeddings = Embeddings(
        store,
        settings["train_share"],
        config.seed,
        device,
        tokens=settings.get("tokens", "unit"),
        by_level=kind.compressor.by_level,
    )
    with stage(model.autoencoder, CompressorRecord, settings, inputs, config.overwrite) as run:
        if run.report is not None and model.compressor.is_file():
            compressor = read_compressor(model.compressor, device)
        else:
            if config.checkpoint is None:
                compressor = kind.fit(embeddings, settings, model)
            else:
                compressor = _given(config.checkpoint, embeddings)
            run.report = _report(compressor, embeddings)
            write_compressor(model.compressor, compressor)
            run.save()
            delete_checkpoints(model, "autoencoder")
        _print_report(run.report)
        _write_codes(compressor, embeddings, model)


def _settings(config: AutoencoderConfig, kind: Kind, store: FeatureStore) -> dict[str, Any]:
    """Settings that determine the result, with the defaults filled in; InputError for invalid values."""
    settings = kind.settings(config, store)
    if config.codebook_size is not None and "codebook_size" not in settings:
        raise InputError(f"--codebook_size is of --method codebook; the method is {config.method}.")
    if config.checkpoint is None:
        return settings
    if not config.checkpoint.is_file():
        raise InputError(f"No file {config.checkpoint}; expected a compressor such as LangSplat's best_ckpt.pth.")
    digest = file_digest(config.checkpoint)
    taken = {"checkpoint": digest, "train_share": settings["train_share"], "seed": config.seed}
    return taken | {"tokens": config.checkpoint_tokens or _checkpoint_tokens(config.checkpoint)} if store.dense else taken


def _checkpoint_tokens(checkpoint: Path) -> Tokens:
    """Tokens that the compressor of a file was fitted to: from the stage record beside it, else as its authors published."""
    if (checkpoint.parent / RECORD).is_file():
        remedy = f"Copy {checkpoint.name} elsewhere to use it without its record."
        return read_record(checkpoint.parent, CompressorRecord, remedy).config.tokens
    return read_compressor(checkpoint).foreign_tokens


def _given(checkpoint: Path, embeddings: Embeddings) -> Compressor:
    """The compressor of --checkpoint; the embeddings are only read to measure it."""
    compressor = read_compressor(checkpoint, embeddings.device)
    for rows in embeddings:
        width = rows.embeddings.shape[1]
        if compressor.feature_width != width:
            raise InputError(
                f"{checkpoint} compresses features {compressor.feature_width} wide; "
                f"those of {embeddings.store.scene.root} are {width}."
            )
    return compressor


def _report(compressor: Compressor, embeddings: Embeddings) -> CompressorReport:
    """Widths, and the reconstruction of fitted and of held-out embeddings."""
    samples = embeddings.fitted_sample(), embeddings.held_out_sample()
    train, validation = (measure(compressor, rows) if len(rows) else None for rows in samples)
    widths = compressor.feature_width, compressor.code_width
    return CompressorReport(compressor.method, *widths, train, validation, embeddings.tokens, compressor.details())


def _print_report(report: CompressorReport) -> None:
    log.info("%s %d -> %d. Cosine of embeddings and decoded codes:", report.method, report.feature_width, report.code_width)
    log.info("  %-12s %8s %8s %14s", "", "rows", "mean", "5th percentile")
    for name, row in (("train", report.train), ("validation", report.validation)):
        if row is not None:
            log.info("  %-12s %8d %8.4f %14.4f", name, row.rows, row.mean, row.percentile_5)


@torch.no_grad()
def _write_codes(compressor: Compressor, embeddings: Embeddings, model: ModelFolder) -> None:
    for key in tqdm(embeddings.keys, desc="writing codes", unit="image"):
        if not model.codes(key).exists():
            save_array(model.codes(key), compressor.image_codes(embeddings, key))
