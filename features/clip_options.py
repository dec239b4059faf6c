"""The OpenCLIP model that embeds segments, and its recorded settings, for every extractor that uses one."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from features.clip import ClipEncoder
from features.clip_loading import DEFAULT_MODEL, default_weights
from features.masks import Resize
from features.text import NEGATIVES, TEMPERATURE, ClipText, TextOptions
from workspace import InputError
from workspace.record_types import FeatureSettings


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Flags of the encoder of segments."""

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


def clip_settings(options: ClipOptions) -> dict[str, object]:
    """Settings of the encoder for the record. Published values of filter and calibration are left out, as in records of
    earlier versions, which have neither.

    Raises:
        InputError: no such model, none or several published weights and none named, or a calibration out of range.
    """
    if not 0 < options.temperature < math.inf:
        raise InputError(f"--temperature {options.temperature:g} is no number above 0; the published one is {TEMPERATURE:g}.")
    if not options.negatives or not all(phrase.strip() for phrase in options.negatives):
        raise InputError("--negatives takes one phrase or more, each with a letter; published are: " + ", ".join(NEGATIVES))
    found: dict[str, object] = {"clip_model": options.clip_model, "clip_pretrained": _weights(options)}
    if _resizes_as_encoder(options):
        found["crop_resize"] = "encoder"
    if options.temperature != TEMPERATURE:
        found["temperature"] = options.temperature
    if options.negatives != NEGATIVES:
        found["negatives"] = list(options.negatives)
    return found


def clip_encoder(options: ClipOptions, device: torch.device) -> tuple[ClipEncoder, Resize | None]:
    """The encoder, and the resize filter of its crops (None: the published one, as in `features.masks.cut_crops`)."""
    encoder = ClipEncoder(options.clip_model, _weights(options), device)
    return encoder, crop_filter(options, encoder)


def crop_filter(options: ClipOptions, encoder: ClipEncoder) -> Resize | None:
    """The resize filter of crops for `encoder`; None: the published one."""
    return encoder.resize if _resizes_as_encoder(options) else None


def clip_text(settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> ClipText:
    """Text tower of the model that `clip_settings` recorded; its weights may have moved since."""
    return ClipText(
        settings.text("clip_model"),
        options.clip_pretrained or settings.text("clip_pretrained"),
        device,
        settings.texts("negatives", NEGATIVES),
        options.temperature or settings.number("temperature", TEMPERATURE),
    )


def _weights(options: ClipOptions) -> str:
    return options.clip_pretrained or default_weights(options.clip_model)


def _resizes_as_encoder(options: ClipOptions) -> bool:
    return (options.crop_resize or ("published" if options.clip_model == DEFAULT_MODEL else "encoder")) == "encoder"
