"""`--features sam_clip`: LangSplat's segments, SAM's masks at four levels with OpenCLIP embeddings."""

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from features.clip import ClipEncoder
from features.clip_loading import DEFAULT_MODEL, default_weights
from features.extractor import Extractor, ExtractorSpec
from features.sam import SamGenerator, SamSettings, load_sam
from features.segment_extractor import mask_extractor
from features.segment_store import SegmentStore
from features.text import NEGATIVES, TEMPERATURE, ClipText, TextOptions
from workspace import InputError, SceneFolder
from workspace.records import FeatureSettings

log = logging.getLogger(__name__)

# and the step in pixels at which masks are compared
PRESETS = {"published": (SamSettings(), 1), "fast": (SamSettings(points_per_side=16, crop_n_layers=0), 2)}


@dataclass(frozen=True, kw_only=True)
class SamClipOptions:
    """Flags of this extractor."""

    preset: Literal["published", "fast"] = "published"
    """SAM settings: the published ones, or fewer prompts and no crops."""
    sam_ckpt_path: Path = Path("ckpts/sam_vit_h_4b8939.pth")
    """SAM weights."""
    sam_model_type: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    """Size of the SAM model in that file."""
    clip_model: str = DEFAULT_MODEL
    """OpenCLIP model that embeds the segments: any of its names, hf-hub:ORGANISATION/REPOSITORY or local-dir:FOLDER."""
    clip_pretrained: str | None = None
    """Its weights: an OpenCLIP tag, or a file. By default the only ones published, of ViT-B-16 LangSplat's laion2b_s34b_b88k."""
    crop_resize: Literal["published", "encoder"] | None = None
    """How segments are brought to the encoder's size. published: bilinear from the next pixels, LangSplat's; the default for
    ViT-B-16. encoder: by the filter of the encoder's own preprocessing; the default for every other model."""
    temperature: float = TEMPERATURE
    """Factor of the cosines in relevancy, recorded with the features. The default is calibrated for CLIP."""
    negatives: tuple[str, ...] = NEGATIVES
    """Phrases that stand for everything else, recorded with the features. The default is calibrated for CLIP."""


class SamClip(ExtractorSpec[SamClipOptions]):
    """SAM and OpenCLIP."""

    store = SegmentStore
    options = SamClipOptions

    def settings(self, options: SamClipOptions) -> dict[str, object]:
        """Names of the networks, SAM's settings, the step of the mask comparison, and what differs from CLIP's.

        Raises:
            InputError: no such model, none or several published weights and none named, or a calibration out of range.
        """
        sam, nms_step = PRESETS[options.preset]
        return {
            "clip_model": options.clip_model,
            "clip_pretrained": options.clip_pretrained or default_weights(options.clip_model),
            **({"crop_resize": "encoder"} if _resize_of_encoder(options) else {}),
            **_calibration(options),
            "sam_model_type": options.sam_model_type,
            "sam": {name: value for name, value in asdict(sam).items() if name != "points_per_batch"},
            "nms_step": nms_step,
        }

    def load(self, options: SamClipOptions, device: torch.device) -> Extractor:
        """SAM and the image tower."""
        sam, nms_step = PRESETS[options.preset]
        generator = SamGenerator(load_sam(options.sam_ckpt_path, options.sam_model_type, device), sam)
        encoder = ClipEncoder(options.clip_model, options.clip_pretrained or default_weights(options.clip_model), device)
        return mask_extractor(generator.generate, encoder, nms_step, encoder.resize if _resize_of_encoder(options) else None)

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> ClipText:
        """Text tower of the same model; its weights may lie elsewhere now."""
        return ClipText(
            settings.text("clip_model"),
            options.clip_pretrained or settings.text("clip_pretrained"),
            device,
            settings.texts("negatives", NEGATIVES),
            options.temperature or settings.number("temperature", TEMPERATURE),
        )

    def announce(self, options: SamClipOptions, scene: SceneFolder) -> None:
        """How a preset differs from the published settings."""
        if options.preset == "published":
            return
        (published, published_step), (sam, step) = PRESETS["published"], PRESETS[options.preset]
        changes = [f"{n} {v} instead of {asdict(published)[n]}" for n, v in asdict(sam).items() if v != asdict(published)[n]]
        changes.append(f"masks compared at every {step} pixels instead of {published_step}")
        log.info(
            "preset %s: %s; %d prompts per image instead of %d",
            options.preset,
            ", ".join(changes),
            _prompts(sam),
            _prompts(published),
        )


def _resize_of_encoder(options: SamClipOptions) -> bool:
    return (options.crop_resize or ("published" if options.clip_model == DEFAULT_MODEL else "encoder")) == "encoder"


def _calibration(options: SamClipOptions) -> dict[str, object]:
    """What differs from CLIP's, which records of earlier versions do not name."""
    if not 0 < options.temperature < math.inf:
        raise InputError(f"--temperature {options.temperature:g} is no number above 0; the published one is {TEMPERATURE:g}.")
    if not options.negatives or not all(phrase.strip() for phrase in options.negatives):
        raise InputError(
            "--negatives takes one phrase or more, each with a letter; the published ones are: " + ", ".join(NEGATIVES)
        )
    found: dict[str, object] = {}
    if options.temperature != TEMPERATURE:
        found["temperature"] = options.temperature
    if options.negatives != NEGATIVES:
        found["negatives"] = list(options.negatives)
    return found


def _prompts(sam: SamSettings) -> int:
    return sam.points_per_side**2 * sum(4**layer for layer in range(sam.crop_n_layers + 1))
