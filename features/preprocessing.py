"""Stage 1: features of every photograph of a scene, by the extractor the user chooses."""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from features import mini
from features.clip import ClipEncoder
from features.dense import area_grid, short_side_grid
from features.dense_extractor import DenseExtractor
from features.dino import DinoEncoder
from features.extraction import Extractor, extract_all, parse_shard
from features.grids import has_grid
from features.photographs import feature_size, scene_photographs
from features.provenance import digests, made_from, replaced
from features.record import SEGMENTED, Features, feature_folder, mini_weights_hash
from features.sam import SamGenerator, SamSettings, load_sam
from features.segment_extractor import GraphExtractor, SamClipExtractor
from features.segment_files import has_segments
from scene.photographs import names_text
from workspace import InputError, SceneFolder
from workspace.device import Device, chosen_device
from workspace.record import read_record, stage
from workspace.records import FeatureSettings, FeaturesRecord

log = logging.getLogger(__name__)

MINI_SHORT_SIDE, MINI_WINDOW = 480, 24  # pixels, patches: what the bundled encoder's tokens were trained at


@dataclass(frozen=True)
class PreprocessConfig:
    """Features of every photograph."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder, with photographs in images/."""
    features: Features = "sam_clip"
    """sam_clip: LangSplat's segments. dino: DinoSplat's patches. mini, mini_dense: bundled, no download, toy worlds only."""
    resolution: int = -1
    """Width in pixels to scale the photographs to; -1 keeps them, up to 1080 pixels high."""
    preset: Literal["paper", "fast"] = "paper"
    """SAM settings: the published ones, or fewer prompts and no crops."""
    sam_ckpt_path: Path = Path("ckpts/sam_vit_h_4b8939.pth")
    """SAM weights."""
    sam_model_type: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    """Size of the SAM model in that file."""
    clip_model: str = "ViT-B-16"
    """OpenCLIP model that embeds the segments."""
    clip_pretrained: str = "laion2b_s34b_b88k"
    """Its weights: an OpenCLIP tag, or a file."""
    dino_model: str = "vit_base_patch14_reg4_dinov2.lvd142m"
    """timm model of the dense features; DINOv2 and DINOv3 vision transformers."""
    dino_ckpt: Path | None = None
    """Its weights as a file; fetched by timm without it."""
    dino_side: int = 518
    """Side in pixels of the square whose area images are scaled to, at their own aspect."""
    square: int | None = None
    """Side in pixels of the square images are squashed to instead; 518 is published."""
    windows: int = 1
    """How many times finer the patch grid is per side; above 1 the image is seen in half-overlapping windows."""
    device: Device = "auto"
    """Where the networks run."""
    shard: str = "1/1"
    """i/n: this process does every n-th image from the i-th on; n processes or machines share the work."""
    overwrite: bool = False
    """Replace features made with other settings."""


PRESETS = {"paper": (SamSettings(), 1), "fast": (SamSettings(points_per_side=16, crop_n_layers=0), 2)}  # and NMS step in pixels


def preprocess(config: PreprocessConfig) -> None:
    """Stage 1: segment or patch features of every photograph, written into the scene folder.

    A killed run continues with the same command. Photographs that cannot be read are reported at the end, exit code 1.
    """
    scene = SceneFolder(config.source_path)
    shard = parse_shard(config.shard)
    if config.overwrite and shard[1] > 1:
        raise InputError(
            "--overwrite would delete what other shards have done. Delete the feature folder once, then start the shards."
        )
    feature_size(1, 1, config.resolution)  # refuses a wrong one before any work
    if config.windows < 1 or config.dino_side < 1 or (config.square is not None and config.square < 1):
        raise InputError("--windows, --dino_side and --square are counts of 1 or more.")
    photographs = scene_photographs(scene)
    folder = feature_folder(scene, config.features)
    device = chosen_device(config.device)
    settings = _settings(config)
    is_done = has_segments if config.features in SEGMENTED else has_grid

    now = digests(photographs)

    def outdated() -> list[str]:
        return replaced(made_from(scene, folder), now)

    def missing(keys: Iterable[str]) -> list[str]:
        old = set(outdated())
        return [key for key in keys if key in old or not is_done(scene, key)]

    mine = list(photographs)[shard[0] - 1 :: shard[1]]
    extractor = None
    if config.overwrite or missing(mine):
        # networks are loaded before the folder is touched, because weights may be missing, and only when there is work
        extractor = _EXTRACTORS[config.features](config, device)
        _announce(config, scene, settings)

    failures: dict[str, str] = {}
    with stage(folder, FeaturesRecord, settings, {}, config.overwrite) as run:
        if extractor is not None:
            todo = missing(mine)
            if len(todo) < len(mine):
                log.info("%d of %d images are done already", len(mine) - len(todo), len(mine))
            if old := outdated():
                log.info("%d photographs were replaced; their features are made again: %s", len(old), names_text(old))
            wanted = {key: photographs[key] for key in todo}
            failures = extract_all(scene, wanted, extractor, scene.extraction_log(folder, shard), config.resolution)
        run.complete = not missing(photographs)
    remaining = missing(photographs)
    if not remaining and not read_record(folder, FeaturesRecord, "Repeat the command.").complete:
        with stage(folder, FeaturesRecord, settings, {}):  # another shard finished between the check and the record
            pass
    if failures:
        lines = "\n".join(f"  {reason}" for reason in failures.values())
        log.error(
            "%d of %d photographs have no features:\n%s\nReplace them, or remove them and make the cameras, if there are any, "
            "again; the same command continues.",
            len(failures),
            len(photographs),
            lines,
        )
        raise SystemExit(1)
    log.info("%s: %d of %d images", folder, len(photographs) - len(remaining), len(photographs))


def _settings(config: PreprocessConfig) -> FeatureSettings:
    """What decides the result, for the record; later stages compare text in the space it names."""
    settings = FeatureSettings(config.features, config.resolution)
    if config.features == "sam_clip":
        sam, nms_step = PRESETS[config.preset]
        return replace(
            settings,
            clip_model=config.clip_model,
            clip_pretrained=config.clip_pretrained,
            sam_model_type=config.sam_model_type,
            sam={name: value for name, value in asdict(sam).items() if name != "points_per_batch"},
            nms_step=nms_step,
        )
    if config.features == "dino":
        side = None if config.square else config.dino_side
        return replace(settings, dino_model=config.dino_model, square=config.square, windows=config.windows, dino_side=side)
    return replace(settings, mini_weights=mini_weights_hash())


def _announce(config: PreprocessConfig, scene: SceneFolder, settings: FeatureSettings) -> None:
    log.info("%s", settings)
    if config.features in ("mini", "mini_dense") and not scene.part_ids.is_dir():
        log.warning(mini.NOTICE)
    if config.features == "sam_clip" and config.preset != "paper":
        (paper, paper_step), (sam, step) = PRESETS["paper"], PRESETS[config.preset]
        changes = [f"{n} {v} instead of {asdict(paper)[n]}" for n, v in asdict(sam).items() if v != asdict(paper)[n]]
        changes.append(f"masks compared at every {step} pixels instead of {paper_step}")
        log.info(
            "preset %s: %s; %d prompts per image instead of %d", config.preset, ", ".join(changes), _prompts(sam), _prompts(paper)
        )


def _prompts(sam: SamSettings) -> int:
    return sam.points_per_side**2 * sum(4**layer for layer in range(sam.crop_n_layers + 1))


def _sam_clip(config: PreprocessConfig, device: torch.device) -> Extractor:
    sam, nms_step = PRESETS[config.preset]
    generator = SamGenerator(load_sam(config.sam_ckpt_path, config.sam_model_type, device), sam)
    return SamClipExtractor(generator.generate, ClipEncoder(config.clip_model, config.clip_pretrained, device), nms_step)


def _mini(config: PreprocessConfig, device: torch.device) -> Extractor:
    from features.graph_segments import graph_segments

    return GraphExtractor(graph_segments, ClipEncoder(mini.MODEL, None, device))


def _dino(config: PreprocessConfig, device: torch.device) -> Extractor:
    encoder = DinoEncoder(config.dino_model, config.dino_ckpt, device)

    def window(height: int, width: int) -> tuple[int, int]:
        if config.square:
            return max(1, config.square // encoder.patch_size), max(1, config.square // encoder.patch_size)
        return area_grid(height, width, config.dino_side, encoder.patch_size)

    def grid(height: int, width: int) -> tuple[int, int]:
        rows, columns = window(height, width)
        return rows * config.windows, columns * config.windows

    return DenseExtractor(encoder.embed_patches, encoder.patch_size, grid, window)


def _mini_dense(config: PreprocessConfig, device: torch.device) -> Extractor:
    encoder = ClipEncoder(mini.MODEL, None, device)
    return DenseExtractor(
        encoder.embed_patches,
        encoder.patch_size,
        lambda height, width: short_side_grid(height, width, MINI_SHORT_SIDE, encoder.patch_size),
        lambda height, width: (MINI_WINDOW, MINI_WINDOW),
    )


_EXTRACTORS = {"sam_clip": _sam_clip, "mini": _mini, "dino": _dino, "mini_dense": _mini_dense}
