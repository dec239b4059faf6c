"""Stage 2: fit the scene's compressor, say how well it reconstructs, and write the codes of every image."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from autoencoder.compressor import Compressor
from autoencoder.config import AutoencoderConfig
from autoencoder.embeddings import Embeddings
from autoencoder.kinds import KINDS, Kind, read_compressor, write_compressor
from autoencoder.reconstruction import measure
from features.feature_store import FeatureStore
from features.registry import open_store
from workspace import InputError, ModelFolder, SceneFolder, save_array, write_json
from workspace.device import chosen_device
from workspace.record import RECORD, stage
from workspace.resume import delete_checkpoints

log = logging.getLogger(__name__)


def train_autoencoder(config: AutoencoderConfig) -> None:
    """Compress a scene's features to a few channels and write the codes of every image."""
    scene = SceneFolder(config.source_path)
    model = ModelFolder.of(config.source_path, config.model_path)
    device = chosen_device(config.device)
    store, kind = open_store(scene, config.features), KINDS[config.method]
    settings = _settings(config, kind, store)
    inputs = {"features": store.settings, "photographs": store.refuse_replaced()}
    if config.overwrite:
        delete_checkpoints(model, "autoencoder")
    with stage(model.autoencoder, "autoencoder", settings, inputs, config.overwrite) as record:
        if "report" in record and model.compressor.is_file():
            compressor = read_compressor(model.compressor, device)
        else:
            embeddings = Embeddings(store, settings["train_share"], config.seed, device)
            if config.checkpoint is None:
                compressor = kind.fit(embeddings, settings, model)
            else:
                compressor = _given(config.checkpoint, embeddings)
            record["report"] = _report(compressor, embeddings)
            write_compressor(model.compressor, compressor)
            write_json(model.autoencoder / RECORD, {**record, "complete": False})
            delete_checkpoints(model, "autoencoder")
        _print_report(record["report"])
        _write_codes(compressor, store, model, device)


def _settings(config: AutoencoderConfig, kind: Kind, store: FeatureStore) -> dict[str, Any]:
    """What decides the result, with the defaults filled in; refuses values without a meaning."""
    settings = kind.settings(config, store)
    if config.checkpoint is None:
        return settings
    if not config.checkpoint.is_file():
        raise InputError(f"No file {config.checkpoint}; expected a compressor such as LangSplat's best_ckpt.pth.")
    digest = hashlib.sha256(config.checkpoint.read_bytes()).hexdigest()
    return {"checkpoint": digest, "train_share": settings["train_share"], "seed": config.seed}


def _given(checkpoint: Path, embeddings: Embeddings) -> Compressor:
    """The compressor of a file, for embeddings that are only read to measure it."""
    compressor = read_compressor(checkpoint, embeddings.device)
    for rows in embeddings:
        if compressor.feature_width != rows.shape[1]:
            raise InputError(
                f"{checkpoint} compresses features {compressor.feature_width} wide; "
                f"those of {embeddings.store.scene.root} are {rows.shape[1]}."
            )
    return compressor


def _report(compressor: Compressor, embeddings: Embeddings) -> dict[str, Any]:
    """Widths, and the reconstruction of fitted and of held-out embeddings."""
    widths = {"method": compressor.method, "feature_width": compressor.feature_width, "code_width": compressor.code_width}
    samples = {"train": embeddings.fitted_sample(), "validation": embeddings.held_out_sample()}
    return widths | {name: asdict(measure(compressor, rows)) for name, rows in samples.items()}


def _print_report(report: Mapping[str, Any]) -> None:
    log.info(
        "%s %d -> %d. Cosine of embeddings and decoded codes:", report["method"], report["feature_width"], report["code_width"]
    )
    log.info("  %-12s %8s %8s %14s", "", "rows", "mean", "5th percentile")
    for name in ("train", "validation"):
        row = report[name]
        log.info("  %-12s %8d %8.4f %14.4f", name, row["rows"], row["mean"], row["percentile_5"])


@torch.no_grad()
def _write_codes(compressor: Compressor, store: FeatureStore, model: ModelFolder, device: torch.device) -> None:
    for key in tqdm(store.keys(), desc="writing codes", unit="image"):
        if not model.codes(key).exists():
            embeddings = torch.from_numpy(store.embeddings(key)).to(device, torch.float32)
            save_array(model.codes(key), compressor.encode(embeddings).cpu().numpy().astype(store.code_dtype))
