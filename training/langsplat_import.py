"""Import of LangSplat's released models: one checkpoint per level and an autoencoder become one model folder."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.kinds import read_compressor, write_compressor
from features.segment_store import LANGSPLAT
from scene.dataset import load_scene
from scene.gaussian_files import load_checkpoint, save_ply
from scene.gaussian_model import GaussianModel
from workspace import InputError, ModelFolder, save_array
from workspace.files import file_digest
from workspace.record_types import CompressorRecord, CompressorReport, LanguageRecord, RgbRecord
from workspace.stage_record import stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportConfig:
    """Files of a released model, and the scene it was trained on."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder the model was trained on: images/ and sparse/0/."""
    checkpoints: tuple[Path, ...]
    """Language checkpoints (chkpnt30000.pth) in the order of --levels."""
    autoencoder: Path
    """The scene's autoencoder (best_ckpt.pth)."""
    model_path: Annotated[Path | None, tyro.conf.arg(aliases=["-m"])] = None
    """Model folder to write; output/<scene> when not given."""
    levels: tuple[Literal["default", "s", "m", "l"], ...] = ("s", "m", "l")
    """Level of each checkpoint; LangSplat's numbers 0 to 3 in this order."""
    images: Annotated[str, tyro.conf.arg(aliases=["-i"])] = "images"
    """Folder of the photographs inside the scene."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["-r"])] = -1
    """-1 keeps the photographs' size up to 1080 pixels high; 1, 2, 4 or 8 divides it; another value is the largest width."""
    eval: bool = False
    """The model was trained without every 8th photograph."""
    ignore_distortion: bool = False
    """Take distorted cameras for pinholes, as LangSplat did when it trained on them."""
    white_background: bool = False
    """White behind the Gaussians instead of black."""
    overwrite: bool = False
    """Replace what the model folder holds."""


def import_langsplat(config: ImportConfig) -> None:
    """Convert LangSplat's released checkpoints and autoencoder to one model folder, which is rendered and queried like our own.

    Raises:
        InputError: a file has unexpected content, or the checkpoints hold different Gaussians.
    """
    model = ModelFolder.of(config.source_path, config.model_path)
    load_scene(  # raises InputError before anything is written
        config.source_path,
        images=config.images,
        resolution=config.resolution,
        eval=config.eval,
        ignore_distortion=config.ignore_distortion,
    )
    compressor = read_compressor(config.autoencoder)
    gaussians, codes, iteration = _read_levels(config, compressor)
    geometry = gaussians.geometry_hash()
    digests = {name: file_digest(path) for name, path in zip(config.levels, config.checkpoints, strict=True)}
    encoder = file_digest(config.autoencoder)

    seen = {name: getattr(config, name) for name in ("images", "resolution", "eval", "ignore_distortion")}
    settings = {**seen, "source_path": config.source_path.resolve().as_posix(), "white_background": config.white_background}
    with stage(model.point_clouds, RgbRecord, settings, {"checkpoints": digests}, config.overwrite):
        save_ply(model.point_cloud(iteration), gaussians)
    fitted = {"checkpoint": encoder}, {"features": LANGSPLAT}
    with stage(model.autoencoder, CompressorRecord, *fitted, config.overwrite) as run:
        write_compressor(model.compressor, compressor)
        run.report = CompressorReport(compressor.method, compressor.feature_width, compressor.code_width)
    inputs: dict[str, Any] = {
        "checkpoints": digests,
        "geometry": geometry,
        "autoencoder": file_digest(model.compressor),
        "features": LANGSPLAT,
    }
    with stage(model.language, LanguageRecord, {"levels": config.levels, "gaussians": iteration}, inputs, config.overwrite):
        for level, values in codes.items():
            save_array(model.level_codes(level), values.numpy())
    log.info("%s Gaussians of iteration %d with levels %s: %s", f"{len(gaussians):,}", iteration, ", ".join(codes), model.root)
    log.info('Ask it something: python eval_query.py -m %s --text "red apple"', model.root)


def _read_levels(config: ImportConfig, compressor: Compressor) -> tuple[GaussianModel, dict[str, Float[Tensor, "n c"]], int]:
    """The Gaussians shared by all checkpoints, the codes of each level, and the iteration."""
    if len(config.checkpoints) != len(config.levels) or len(set(config.levels)) != len(config.levels):
        raise InputError(
            f"{len(config.checkpoints)} checkpoints for the levels {' '.join(config.levels)}; expected one checkpoint for each "
            "level, in the same order. Fewer levels: --levels m --checkpoints <file>"
        )
    shared: GaussianModel | None = None
    codes, iteration = {}, 0
    for level, path in zip(config.levels, config.checkpoints, strict=True):
        gaussians, language, iteration = load_checkpoint(path)
        if language is None:
            raise InputError(
                f"{path} has no language feature: it is a checkpoint of RGB training. Expected one of level {level}."
            )
        if language.shape[1] != compressor.code_width:
            raise InputError(
                f"{path} has codes of {language.shape[1]} channels, {config.autoencoder} of {compressor.code_width}: "
                "they are not of one model."
            )
        if not language.isfinite().all():
            raise InputError(f"{path} has codes that are not finite numbers.")
        if shared is not None and gaussians.geometry_hash() != shared.geometry_hash():
            raise InputError(
                f"{path} ({len(gaussians):,} Gaussians) and {config.checkpoints[0]} ({len(shared):,}) hold different Gaussians. "
                "The levels of one released model start from the same RGB training; take files of one scene and one release."
            )
        shared = shared or gaussians
        codes[level] = language
    return shared, codes, iteration
