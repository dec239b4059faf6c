"""`--features clip_dense`: patch tokens of an OpenCLIP model, comparable with its text."""

from dataclasses import dataclass

import torch

from features.clip import ClipEncoder
from features.clip_options import ClipOptions, clip_encoder, clip_settings, clip_text
from features.dense import short_side_grid
from features.dense_extractor import dense_extractor
from features.extractor import Extractor, ExtractorSpec
from features.grid_store import GridStore
from features.text import ClipText, TextOptions
from workspace import InputError
from workspace.record_types import FeatureSettings


@dataclass(frozen=True, kw_only=True)
class ClipDenseOptions(ClipOptions):
    """Flags of this extractor."""

    clip_scale: int = 2
    """Size of pictures for --features clip_dense: their shorter side is this many times that of the encoder's pictures. They are
    encoded in half-overlapping windows of its own size."""


class ClipDense(ExtractorSpec[ClipDenseOptions]):
    """Patch tokens in the joint space; text of the same model."""

    store = GridStore
    options = ClipDenseOptions

    def settings(self, options: ClipDenseOptions) -> dict[str, object]:
        """The model, its calibration, and the size of the grid; errors as `clip_settings`."""
        if options.clip_scale < 1:
            raise InputError(f"--clip_scale {options.clip_scale} is no count of 1 or more.")
        if options.crop_resize is not None:
            raise InputError("--crop_resize is for crops of segments; --features clip_dense has none. Leave it out.")
        found = {name: value for name, value in clip_settings(options).items() if name != "crop_resize"}
        return {**found, "clip_scale": options.clip_scale}

    def load(self, options: ClipDenseOptions, device: torch.device) -> Extractor:
        """The image tower.

        Raises:
            InputError: its patches cannot be compared with text.
        """
        return clip_dense_extractor(options, clip_encoder(options, device)[0])

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> ClipText:
        """Text tower of the same model; its weights may have moved since."""
        return clip_text(settings, device, options)


def clip_dense_extractor(options: ClipDenseOptions, encoder: ClipEncoder) -> Extractor:
    """Patch grids of `encoder` at the size that `options` ask for."""
    encoder.check_patches(options.clip_model)
    window = encoder.image_size // encoder.patch_size

    def grid(height: int, width: int) -> tuple[int, int]:
        return short_side_grid(height, width, options.clip_scale * window * encoder.patch_size, encoder.patch_size)

    return dense_extractor(encoder.embed_windows, encoder.patch_size, grid, lambda height, width: (window, window))
