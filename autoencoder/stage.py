"""Stage 2: fit the scene's compressor, say how well it reconstructs, and write the codes of every image."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from tqdm import tqdm

from autoencoder.compressor import Compressor, read_compressor, write_compressor
from autoencoder.embeddings import SAMPLE_ROWS, split_embeddings
from autoencoder.fitting import fit
from autoencoder.network import Autoencoder, published_widths
from autoencoder.pca import PCA, Moments
from autoencoder.recipes import PATCH_SHARE, PATCHES, SEGMENT_SHARE, SEGMENTS, CosineAxis, Preset, Recipe, Schedule
from autoencoder.reconstruction import measure
from features.feature_store import FeatureStore
from features.registry import ExtractorName, open_store
from workspace import InputError, ModelFolder, SceneFolder, save_array, write_json
from workspace.device import Device, chosen_device
from workspace.record import RECORD, stage
from workspace.resume import delete_checkpoints, load_checkpoint, save_checkpoint, stop_requests

log = logging.getLogger(__name__)


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
    method: Literal["autoencoder", "pca"] = "autoencoder"
    """The published network, or principal components: seconds instead of minutes, linear, best with 16 channels or more."""
    code_width: int = 3
    """Channels of a code."""
    checkpoint: Path | None = None
    """Take this compressor instead of fitting one: LangSplat's best_ckpt.pth or another model's compressor.pth."""
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
    """Share of all embeddings to fit, the others measure; by default 0.95 for segments, 0.2 for patch tokens, and 0.95
    of either for principal components."""
    seed: int = 0
    """Of the initial weights, the split and the order of embeddings."""
    device: Device = "auto"
    """Where to fit."""
    overwrite: bool = False
    """Replace a compressor made with other settings."""


def train_autoencoder(config: AutoencoderConfig) -> None:
    """Compress a scene's features to a few channels and write the codes of every image."""
    scene = SceneFolder(config.source_path)
    model = ModelFolder.of(config.source_path, config.model_path)
    device = chosen_device(config.device)
    store = open_store(scene, config.features)
    settings = _settings(config, store)
    keys = store.keys()
    inputs = {"features": store.settings, "photographs": store.refuse_replaced()}
    if config.overwrite:
        delete_checkpoints(model, "autoencoder")
    with stage(model.autoencoder, "autoencoder", settings, inputs, config.overwrite) as record:
        if "report" in record and model.compressor.is_file():
            compressor = read_compressor(model.compressor, device)
        else:
            compressor, record["report"] = _fitted(config, settings, store, model, keys, device)
            write_compressor(model.compressor, compressor)
            write_json(model.autoencoder / RECORD, {**record, "complete": False})
            delete_checkpoints(model, "autoencoder")
        _print_report(compressor, record["report"])
        _write_codes(compressor, store, model, keys, device)


def _settings(config: AutoencoderConfig, store: FeatureStore) -> dict[str, Any]:
    """What decides the result, with the defaults of the features filled in; refuses values that make no sense."""
    recipes, share = (PATCHES, PATCH_SHARE) if store.dense else (SEGMENTS, SEGMENT_SHARE)
    recipe = asdict(replace(recipes[config.preset], cosine_axis=config.cosine_axis, seed=config.seed))
    recipe |= {name: given for name in ("epochs", "batch_size", "lr", "schedule") if (given := getattr(config, name)) is not None}
    share = SEGMENT_SHARE if config.method == "pca" else share
    share = share if config.train_share is None else config.train_share
    for name, value, least in (
        ("code_width", config.code_width, 1),
        ("epochs", recipe["epochs"], 1),
        ("batch_size", recipe["batch_size"], 2),
    ):
        if value < least:
            raise InputError(f"--{name} {value}: expected {least} or more.")
    if not recipe["lr"] > 0:
        raise InputError(f"--lr {recipe['lr']}: expected a positive step size.")
    if not 0 < share < 1:
        raise InputError(f"--train_share {share}: expected a share between 0 and 1.")
    if config.checkpoint is not None:
        if not config.checkpoint.is_file():
            raise InputError(f"No file {config.checkpoint}; expected a compressor such as LangSplat's best_ckpt.pth.")
        digest = hashlib.sha256(config.checkpoint.read_bytes()).hexdigest()
        return {"checkpoint": digest, "train_share": share, "seed": config.seed}
    settings = {"method": config.method, "code_width": config.code_width, "train_share": share, "seed": config.seed}
    return settings if config.method == "pca" else {**settings, "recipe": recipe}


def _fitted(
    config: AutoencoderConfig,
    settings: Mapping[str, Any],
    store: FeatureStore,
    model: ModelFolder,
    keys: list[str],
    device: torch.device,
) -> tuple[Compressor, dict[str, Any]]:
    """The compressor and its reconstruction of fitted and of held-out embeddings."""
    parts = split_embeddings(store, keys, settings["train_share"], config.seed, device)
    parts = tqdm(parts, desc="reading embeddings", unit="image", total=len(keys))
    given = None if config.checkpoint is None else read_compressor(config.checkpoint, device)
    if given is None and config.method == "pca":
        given, train, validation = _principal_components(parts, config, len(keys))
    else:
        fitted, held_out = zip(*parts, strict=True)
        train, validation = torch.cat(fitted), torch.cat(held_out)
    if len(train) < 2:
        raise InputError(f"{store.scene.root} has {len(train) + len(validation)} embeddings, too few to fit a compressor to.")
    if given is not None and given.feature_width != train.shape[1]:
        raise InputError(
            f"{config.checkpoint} compresses features {given.feature_width} wide; "
            f"those of {store.scene.root} are {train.shape[1]}."
        )
    if given is None and settings["code_width"] > train.shape[1]:
        raise InputError(
            f"--code_width {settings['code_width']}: the features of {store.scene.root} are only {train.shape[1]} wide."
        )
    compressor = given or _fit_autoencoder(settings, model, train, validation)
    sample = torch.randperm(len(train), generator=torch.Generator().manual_seed(config.seed))[:SAMPLE_ROWS].to(train.device)
    report = {name: asdict(measure(compressor, rows)) for name, rows in (("train", train[sample]), ("validation", validation))}
    widths = {"method": compressor.method, "feature_width": compressor.feature_width, "code_width": compressor.code_width}
    return compressor, {**widths, **report}


def _principal_components(parts, config: AutoencoderConfig, images: int) -> tuple[PCA, torch.Tensor, torch.Tensor]:
    """Components of all embeddings to fit, and samples of fitted and held-out ones; only the samples stay in memory."""
    moments, fitted_sample, held_out = None, [], []
    for fitted, measured in parts:
        moments = moments or Moments(fitted.shape[1], fitted.device)
        moments.add(fitted)
        fitted_sample.append(fitted[: -(-SAMPLE_ROWS // images)].clone())
        held_out.append(measured)
    if moments.count < 2:
        return None, torch.cat(fitted_sample), torch.cat(held_out)
    try:
        return moments.components(config.code_width), torch.cat(fitted_sample), torch.cat(held_out)
    except ValueError as error:
        raise InputError(f"--code_width {config.code_width}: {error}.") from None


def _fit_autoencoder(
    settings: Mapping[str, Any], model: ModelFolder, train: torch.Tensor, validation: torch.Tensor
) -> Autoencoder:
    recipe = Recipe(**settings["recipe"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = Autoencoder(*published_widths(train.shape[1], settings["code_width"])).to(train.device)
    resume = load_checkpoint(model, "autoencoder", train.device)
    if resume is not None:
        log.info("Continuing after epoch %d of %d.", resume["epoch"], recipe.epochs)
    with stop_requests() as stop:
        return fit(
            network,
            train,
            validation,
            recipe,
            resume=resume,
            save=lambda epoch, state: save_checkpoint(model, "autoencoder", epoch, state),
            stop=stop,
        )


def _print_report(compressor: Compressor, report: Mapping[str, Any]) -> None:
    log.info(
        "%s %d -> %d. Cosine of embeddings and decoded codes:", compressor.method, compressor.feature_width, compressor.code_width
    )
    log.info("  %-12s %8s %8s %14s", "", "rows", "mean", "5th percentile")
    for name in ("train", "validation"):
        row = report[name]
        log.info("  %-12s %8d %8.4f %14.4f", name, row["rows"], row["mean"], row["percentile_5"])


@torch.no_grad()
def _write_codes(compressor: Compressor, store: FeatureStore, model: ModelFolder, keys: list[str], device: torch.device) -> None:
    for key in tqdm(keys, desc="writing codes", unit="image"):
        if not model.codes(key).exists():
            embeddings = torch.from_numpy(store.embeddings(key)).to(device, torch.float32)
            save_array(model.codes(key), compressor.encode(embeddings).cpu().numpy().astype(store.code_dtype))
