"""`--features sam_clip`: LangSplat's segments, SAM's masks at four levels with OpenCLIP embeddings."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from features.clip import ClipEncoder
from features.clip_options import ClipOptions, clip_encoder, clip_settings, clip_text
from features.extractor import Extractor, ExtractorSpec
from features.masks import Resize
from features.sam import MaskPredictor, SamGenerator, SamSettings
from features.segment_extractor import map_extractor, mask_extractor
from features.segment_store import SegmentStore
from features.stock_sam import StockSam, load_sam
from features.text import ClipText, TextOptions
from features.transformers_sam import FAMILIES, load_transformers_sam
from workspace import InputError, SceneFolder
from workspace.record_types import FeatureSettings

log = logging.getLogger(__name__)

# and the step in pixels at which masks are compared
PRESETS = {"published": (SamSettings(), 1), "fast": (SamSettings(points_per_side=16, crop_n_layers=0), 2)}


Segmenter = Literal["sam", "sam2", "edgetam", "graph"]


@dataclass(frozen=True, kw_only=True)
class SamClipOptions(ClipOptions):
    """Flags of this extractor."""

    segmenter: Segmenter | None = None
    """What makes the masks of --features sam_clip: sam (default), sam2, edgetam (both need requirements-transformers.txt), or
    graph, the bundled region graph, which needs no weights. --features mini has graph alone."""
    segmenter_weights: str | None = None
    """Weights of sam2 or edgetam: a folder, or a repository of the hub; facebook/sam2.1-hiera-tiny or yonigozlan/EdgeTAM-hf."""
    preset: Literal["published", "fast"] = "published"
    """Prompts of sam, sam2 and edgetam: the published ones, or fewer and no crops, for a CPU."""
    sam_ckpt_path: Path = Path("ckpts/sam_vit_h_4b8939.pth")
    """SAM weights."""
    sam_model_type: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    """Size of the SAM model in that file."""


class SamClip(ExtractorSpec[SamClipOptions]):
    """SAM, or another segmenter, and OpenCLIP."""

    store = SegmentStore
    text_options = ("clip_pretrained", "temperature")
    options = SamClipOptions
    segmenters = ("sam", "sam2", "edgetam", "graph")

    def settings(self, options: SamClipOptions) -> dict[str, object]:
        """Names of the networks, the segmenter's settings and the step of the mask comparison; errors as `clip_settings`."""
        sam, nms_step = PRESETS[options.preset]
        segmenter, family = options.segmenter or "sam", FAMILIES.get(options.segmenter)
        if options.segmenter_weights and not family:
            raise InputError(f"--segmenter_weights is for --segmenter {' and '.join(FAMILIES)}, not {segmenter}.")
        for flag in ("sam_ckpt_path", "sam_model_type"):
            if segmenter != "sam" and getattr(options, flag) != getattr(SamClipOptions, flag):
                raise InputError(f"--{flag} is for --segmenter sam, not {segmenter}. Leave it out.")
        if segmenter == "graph":
            from features.graph_segments import SETTINGS

            return {**clip_settings(options), "segmenter": "graph", **SETTINGS}
        return {
            **clip_settings(options),
            **(
                {"segmenter": segmenter, "segmenter_weights": options.segmenter_weights or family.weights}
                if family
                else {"sam_model_type": options.sam_model_type}
            ),
            "sam": {name: value for name, value in asdict(sam).items() if name != "points_per_batch"},
            "nms_step": nms_step,
        }

    def load(self, options: SamClipOptions, device: torch.device) -> Extractor:
        """The segmenter and the image tower."""
        if options.segmenter == "graph":
            predictor = None
        elif options.segmenter in FAMILIES:
            predictor = load_transformers_sam(options.segmenter, options.segmenter_weights, device)
        else:
            predictor = StockSam(load_sam(options.sam_ckpt_path, options.sam_model_type, device))
        return segment_extractor(options, predictor, *clip_encoder(options, device))

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> ClipText:
        """Text tower of the same model; its weights may have moved since."""
        return clip_text(settings, device, options)

    def announce(self, options: SamClipOptions, scene: SceneFolder) -> None:
        """How a preset differs from the published settings."""
        if options.preset == "published" or options.segmenter == "graph":
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


def segment_extractor(
    options: SamClipOptions, predictor: MaskPredictor | None, encoder: ClipEncoder, resize: Resize | None
) -> Extractor:
    """The extractor of these networks; without a predictor the segments are those of the region graph."""
    if predictor is None:
        from features.graph_segments import graph_segments

        return map_extractor(graph_segments, encoder, resize)
    sam, nms_step = PRESETS[options.preset]
    return mask_extractor(SamGenerator(predictor, sam).generate, encoder, nms_step, resize)


def _prompts(sam: SamSettings) -> int:
    return sam.points_per_side**2 * sum(4**layer for layer in range(sam.crop_n_layers + 1))
