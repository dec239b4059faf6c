"""Extractors of installed packages, from the entry points of the group `open_vocabulary_3d.features`.

An entry point names a function of a torch device that returns an object with two methods: `segments(image)`, from an RGB
picture [h, w, 3] of uint8 to (labels, embeddings) as `features.own_segments.own_segments` takes them, and
`embed_text(phrases)`, to an array or tensor [p, d]. It may have `negatives`, a tuple of phrases, and `temperature`.
"""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from features.extractor import Extractor, ExtractorSpec
from features.own_segments import own_segments, unit_rows
from features.segment_store import SegmentStore
from features.text import NEGATIVES, TEMPERATURE, TextOptions
from workspace import InputError
from workspace.record_types import FeatureSettings

GROUP = "open_vocabulary_3d.features"


def registered() -> dict[str, ExtractorSpec]:
    """The extractors of installed packages, by name. Does not import them."""
    return {entry.name: RegisteredSegments(entry) for entry in entry_points(group=GROUP)}


class RegisteredSegments(ExtractorSpec[object]):
    """Segments by a function of another package."""

    store = SegmentStore

    def __init__(self, entry: EntryPoint):
        self.entry = entry

    def settings(self, options: object) -> dict[str, object]:
        """The function, and the version of its package, since another version may have another embedding space."""
        return {"function": self.entry.value, "version": self.entry.dist.version if self.entry.dist else "unknown"}

    def load(self, options: object, device: torch.device) -> Extractor:
        """Extractor that calls the returned object and checks its segments for every picture."""
        model = self._model(device, "segments")

        def segments(image):  # noqa: ANN001, ANN202 - as Step
            labels, embeddings = model.segments(image)
            return own_segments(labels, embeddings, image, f"{self.entry.value}: segments()")

        return Extractor({"segments": segments})

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> "RegisteredText":
        """Text encoder through `embed_text` of the object."""
        return RegisteredText(self._model(torch.device(device), "embed_text"), self.entry.value, options)

    def _model(self, device: torch.device, method: str) -> Any:
        try:
            model = self.entry.load()(device)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"The extractor {self.entry.name} ({self.entry.value}) cannot be loaded: {error!r}") from error
        if not callable(getattr(model, method, None)):
            raise InputError(f"What {self.entry.value} returns has no method {method}; docs/features.md says what it needs.")
        return model


class RegisteredText:
    """Phrases through `embed_text` of a registered object."""

    def __init__(self, model: Any, name: str, options: TextOptions):
        self._model = model
        self._name = name
        self.negatives = tuple(getattr(model, "negatives", NEGATIVES))
        self.temperature = options.temperature or float(getattr(model, "temperature", TEMPERATURE))
        self.width = self.embed(["object"]).shape[1]

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows, one per phrase."""
        return unit_rows(self._model.embed_text(list(phrases)), f"{self._name}: embed_text()")
