"""The interface of a language field: what a question needs, independent of how embeddings are stored."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from features.text import TEMPERATURE
from gaussian_renderer import prepare_view
from gaussian_renderer.trained_model import TrainedModel
from scene.camera import Camera
from workspace.record_types import FeatureSettings


class LanguageField(ABC):
    """Gaussians with an embedding at every queried level.

    A stored embedding is shorter than 1 where a Gaussian belongs to several things. A Gaussian that never appears at a pixel
    with a feature has no embedding: it is unknown and never an answer.
    """

    def __init__(self, trained: TrainedModel, levels: tuple[str, ...], features: FeatureSettings):
        """`features` are the settings of the features that the field was trained on; they determine the text encoder."""
        self.trained = trained
        self.levels = levels
        self.features = features

    @property
    @abstractmethod
    def feature_width(self) -> int:
        """Entries of an embedding and of a text vector."""

    @abstractmethod
    def encode(self, embeddings: Float[Tensor, "p d"]) -> Float[Tensor, "p c"]:
        """Text vectors in the space of the rendered codes; InputError when the field has no such space."""

    @abstractmethod
    def scores(self, vectors: Float[Tensor, "v d"]) -> Float[Tensor, "n levels v"]:
        """Inner products of the Gaussians' stored embeddings with unit vectors; 0 for unknown ones."""

    @property
    @abstractmethod
    def codes(self) -> Float[Tensor, "n levels c"]:
        """Channels rendered for pictures, and for the reading of the published protocol."""

    @property
    @abstractmethod
    def lengths(self) -> Float[Tensor, "n levels"]:
        """Lengths of the stored embeddings, in (0, 1]; 0 for unknown ones."""

    @property
    @abstractmethod
    def coverage(self) -> Float[Tensor, "n levels"]:
        """Share of a Gaussian's blending weight that fell on pixels with a feature, in [0, 1]; 0 is unknown."""

    @abstractmethod
    def view(self, camera: Camera) -> "FieldView":
        """The field in the view of a camera."""

    @abstractmethod
    def _content(self) -> list[Tensor]:
        """Tensors that the answers depend on besides the geometry."""

    @property
    def known(self) -> Bool[Tensor, "n levels"]:
        """True for Gaussians with an embedding."""
        return self.coverage > 0

    def fingerprint(self) -> dict[str, str]:
        """Hashes of geometry and codes: what the answers of this field depend on."""
        digest = hashlib.sha256()
        for tensor in self._content():
            digest.update(tensor.cpu().contiguous().numpy())
        return {"geometry": self.trained.gaussians.geometry_hash(), "language": digest.hexdigest()}


@dataclass(frozen=True, eq=False)
class Negatives:
    """The negative phrases, compared with a field once for all questions."""

    field: LanguageField
    embeddings: Float[Tensor, "m d"]
    temperature: float = TEMPERATURE
    """Factor of the cosines in relevancy; larger separates phrases from negatives more sharply."""

    @cached_property
    def scores(self) -> Float[Tensor, "n levels m"]:
        """Inner products with the Gaussians' stored embeddings."""
        return self.field.scores(self.embeddings)

    @cached_property
    def rival(self) -> Float[Tensor, "n levels"]:
        """Cosine of every Gaussian with the negative most similar to it."""
        return self.scores.amax(-1) / self.field.lengths.clamp_min(1e-12)


class FieldView(ABC):
    """A field in the view of one camera. Results that depend on the view but not on the text are cached."""

    def __init__(self, field: LanguageField, camera: Camera):
        self.field = field
        self.camera = camera
        self._rivals: dict[Negatives, Tensor] = {}
        with torch.inference_mode():
            self._prepared = prepare_view(camera, field.trained.gaussians)

    @torch.inference_mode()
    def render(self, channels: Float[Tensor, "n levels c"]) -> Float[Tensor, "levels c h w"]:
        """Channels of every level blended front to back, all levels in one pass; 0 where there is no Gaussian."""
        return self._prepared.rasterize(channels.flatten(1)).image.unflatten(0, channels.shape[1:])

    @abstractmethod
    def prepare(self, protocol: bool) -> None:
        """Render now everything independent of the text, for the `protocol` reading or for the other readings."""

    def compared(self, scores: Float[Tensor, "n levels p"], negatives: Negatives) -> tuple[Tensor, Tensor]:
        """Rendered scores of phrases [levels p h w] and the largest of the negatives' [levels 1 h w].

        The first phrases of a view are rendered together with the negatives, since a pass costs more than its channels.
        """
        if negatives in self._rivals:
            return self.render(scores), self._rivals[negatives]
        images = self.render(torch.cat([scores, negatives.scores], -1))
        phrases = scores.shape[-1]
        self._rivals[negatives] = images[:, phrases:].amax(1, keepdim=True)
        return images[:, :phrases], self._rivals[negatives]

    @cached_property
    def coverage(self) -> Float[Tensor, "levels h w"]:
        """Share of a pixel that Gaussians with an embedding cover, per level, in [0, 1]."""
        return self.render(self.field.coverage[..., None])[:, 0]

    @cached_property
    def codes(self) -> Float[Tensor, "levels c h w"]:
        """The rendered codes; zero where there is no Gaussian."""
        return self.render(self.field.codes)

    @abstractmethod
    def protocol_relevancy(self, phrases: Float[Tensor, "p d"], negatives: Negatives) -> Float[Tensor, "levels p h w"]:
        """Relevancy of the rendered embedding, normalised at every pixel, as the benchmarks' published programs compute it."""
