"""Extractors of installed packages, from the entry points of the group `open_vocabulary_3d.features`.

An entry point names a function of a torch device that returns an object with two methods: `segments(image)`, from an RGB
picture [h, w, 3] of uint8 to (labels, embeddings) as `features.own_segments.own_segments` takes them, and
`embed_text(phrases)`, to an array or tensor [p, d]. It may have `negatives`, a tuple of phrases, and `temperature`.
"""

import logging
import traceback
from collections.abc import Container, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from features.extractor import Extractor, ExtractorSpec
from features.own_segments import GUIDE, own_segments, unit_rows
from features.segment_store import Segments, SegmentStore
from features.text import NEGATIVES, TEMPERATURE, TextOptions
from workspace import InputError
from workspace.record_types import FeatureSettings

log = logging.getLogger(__name__)

GROUP = "open_vocabulary_3d.features"


def registered(taken: Container[str] = ()) -> dict[str, ExtractorSpec]:
    """The extractors of installed packages, by name. Does not import them.

    A name that is `taken`, or that an earlier package has, is left out with a warning.
    """
    found: dict[str, ExtractorSpec] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in taken or entry.name in found:
            log.warning(
                "--features %s is another extractor already; %s is ignored. Rename its entry point.", entry.name, entry.value
            )
        else:
            found[entry.name] = RegisteredSegments(entry)
    return found


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
        model, where = self._model(device, "segments"), f"{self.entry.value}: segments()"

        def segments(image: UInt8[np.ndarray, "h w 3"]) -> Segments:
            try:
                found = model.segments(image)
            except InputError:
                raise
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                raise InputError(f"{where} raised {error!r} at {place.filename}, line {place.lineno}.") from error
            return own_segments(*_arrays(found, where), image, where)

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


def _arrays(found: object, where: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(part, np.ndarray | Tensor) for part in found):
        raise InputError(f"{where} returned {_kind(found)}; expected (labels, embeddings), two arrays or tensors. {GUIDE}")
    labels, embeddings = (part.detach().cpu() if isinstance(part, Tensor) else part for part in found)
    if isinstance(embeddings, Tensor) and embeddings.is_floating_point():
        embeddings = embeddings.float()  # numpy has no bfloat16
    return np.asarray(labels), np.asarray(embeddings)


def _kind(found: object) -> str:
    return f"({', '.join(map(_kind, found))})" if isinstance(found, tuple) else type(found).__name__


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
