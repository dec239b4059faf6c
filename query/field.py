"""The interface of a language field: what a question needs, whatever its Gaussians carry."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
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
    """Gaussians, and an embedding of each of them at every level asked for.

    An embedding as stored is shorter than 1 where a Gaussian is seen with several things; one that was never seen with any has
    none: it is unknown and never an answer.
    """

    def __init__(self, trained: TrainedModel, levels: tuple[str, ...], features: FeatureSettings):
        """`features` are the settings of the features the field was made from; they say which text encoder fits."""
        self.trained = trained
        self.levels = levels
        self.features = features

    @property
    @abstractmethod
    def feature_width(self) -> int:
        """Entries of an embedding and of a text vector."""

    @abstractmethod
    def encode(self, embeddings: Float[Tensor, "p d"]) -> Float[Tensor, "p c"]:
        """Text vectors in the space of the rendered codes; InputError when the field has none to compare in."""

    @abstractmethod
    def scores(self, vectors: Float[Tensor, "v d"]) -> Float[Tensor, "n levels v"]:
        """Inner products of the Gaussians' embeddings, as stored, with unit vectors; 0 of unknown ones."""

    @property
    @abstractmethod
    def codes(self) -> Float[Tensor, "n levels c"]:
        """What is rendered to be looked at, and by the published protocol to be read."""

    @property
    @abstractmethod
    def lengths(self) -> Float[Tensor, "n levels"]:
        """Lengths of the embeddings as stored, in (0, 1]; 0 of unknown ones."""

    @property
    @abstractmethod
    def coverage(self) -> Float[Tensor, "n levels"]:
        """Share of a Gaussian's blending weight that fell on pixels with a feature, in [0, 1]; 0 is unknown."""

    @abstractmethod
    def view(self, camera: Camera) -> "FieldView":
        """The field seen by a camera."""

    @abstractmethod
    def _content(self) -> list[Tensor]:
        """What the answers depend on beside the geometry."""

    @property
    def known(self) -> Bool[Tensor, "n levels"]:
        """Gaussians with an embedding."""
        return self.coverage > 0

    def fingerprint(self) -> dict[str, str]:
        """Hashes of geometry and codes: what the answers of this field depend on."""
        digest = hashlib.sha256()
        for tensor in self._content():
            digest.update(tensor.cpu().contiguous().numpy())
        return {"geometry": self.trained.gaussians.geometry_hash(), "language": digest.hexdigest()}


@dataclass(frozen=True, eq=False)
class Negatives:
    """The phrases that stand for everything else, compared with a field once for all questions."""

    field: LanguageField
    embeddings: Float[Tensor, "m d"]
    temperature: float = TEMPERATURE
    """How sharply phrases are told from them: the factor of the cosines in relevancy."""

    @cached_property
    def scores(self) -> Float[Tensor, "n levels m"]:
        """Inner products with the Gaussians' embeddings as stored."""
        return self.field.scores(self.embeddings)

    @cached_property
    def rival(self) -> Float[Tensor, "n levels"]:
        """Cosine of every Gaussian with the negative most similar to it."""
        return self.scores.amax(-1) / self.field.lengths.clamp_min(1e-12)


class FieldView(ABC):
    """A field seen by one camera. What depends on the view but not on the text is computed once and kept."""

    def __init__(self, field: LanguageField, camera: Camera):
        self.field = field
        self.camera = camera
        self._kept: dict[Hashable, Tensor] = {}
        with torch.inference_mode():
            self._prepared = prepare_view(camera, field.trained.gaussians)

    @torch.inference_mode()
    def render(self, channels: Float[Tensor, "n levels c"]) -> Float[Tensor, "levels c h w"]:
        """Channels of every level blended front to back, all levels in one pass; 0 where there is no Gaussian."""
        return self._prepared.rasterize(channels.flatten(1)).image.unflatten(0, channels.shape[1:])

    def once(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` returns, kept for the next time of the same `key`."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    @abstractmethod
    def prepare(self, protocol: bool) -> None:
        """Render now what does not depend on the text, for the reading by the `protocol` or for the others."""

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
