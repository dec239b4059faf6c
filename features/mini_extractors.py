"""The bundled extractors: graph segments or patch tokens with the bundled encoder. No download; they know toy worlds only."""

import logging

import torch

from features import mini
from features.clip import ClipEncoder
from features.dense import short_side_grid
from features.dense_extractor import dense_extractor
from features.extractor import Extractor, ExtractorSpec
from features.grid_store import GridStore
from features.segment_extractor import map_extractor
from features.segment_store import SegmentStore
from features.text import TEMPERATURE, ClipText, TextOptions
from workspace import InputError, SceneFolder
from workspace.files import file_digest
from workspace.record_types import FeatureSettings

log = logging.getLogger(__name__)

SHORT_SIDE, WINDOW = 480, 24  # pixels, patches: the size that the bundled encoder's tokens were trained at


class _Mini(ExtractorSpec[object]):
    text_options = ("temperature",)

    def settings(self, options: object) -> dict[str, object]:
        return {"mini_weights": weights_hash()}

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> ClipText:
        made, present = settings.text("mini_weights"), weights_hash()
        if made != present:
            raise InputError(
                f"The features were made with bundled weights {made}, the code now brings {present}: their spaces differ. "
                f"Repeat preprocess.py with --features {settings.extractor} --overwrite, and the stages after it."
            )
        return ClipText(mini.MODEL, None, device, temperature=options.temperature or TEMPERATURE)

    def announce(self, options: object, scene: SceneFolder) -> None:
        if not scene.part_ids.is_dir():
            log.warning(mini.NOTICE)


class MiniSegments(_Mini):
    """`--features mini`: segments of a region graph."""

    store = SegmentStore
    segmenters = ("graph",)

    def settings(self, options: object) -> dict[str, object]:
        """The encoder's weights and the graph's thresholds."""
        from features.graph_segments import SETTINGS

        return super().settings(options) | SETTINGS

    def load(self, options: object, device: torch.device) -> Extractor:
        """Region graph and image tower."""
        from features.graph_segments import graph_segments

        return map_extractor(graph_segments, ClipEncoder(mini.MODEL, None, device))


class MiniGrid(_Mini):
    """`--features mini_dense`: patch tokens."""

    store = GridStore

    def load(self, options: object, device: torch.device) -> Extractor:
        """Image tower, in windows of the size of its training."""
        encoder = ClipEncoder(mini.MODEL, None, device)
        return dense_extractor(
            encoder.embed_patches,
            encoder.patch_size,
            lambda height, width: short_side_grid(height, width, SHORT_SIDE, encoder.patch_size),
            lambda height, width: (WINDOW, WINDOW),
        )


def weights_hash() -> str:
    """Prefix of the SHA-256 of the bundled encoder's weights, so that features of an older one are recognised."""
    return file_digest(mini.WEIGHTS)[:16] if mini.WEIGHTS.is_file() else ""
