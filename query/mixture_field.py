"""The lifted kind of field: every Gaussian has a mixture of codebook codes per level. Phrases are compared with the few
hundred codes, so a question costs one render with as many channels as phrases."""

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.codebook import Codebook
from autoencoder.mixtures import Mixtures
from gaussian_renderer.trained_model import TrainedModel
from query.field import FieldView, LanguageField, Negatives
from scene.camera import Camera
from workspace import InputError
from workspace.record_types import FeatureSettings


class MixtureField(LanguageField):
    """Mixtures of all levels, and their codebook."""

    def __init__(
        self,
        trained: TrainedModel,
        levels: tuple[str, ...],
        features: FeatureSettings,
        mixtures: tuple[Mixtures, ...],
        codebook: Codebook,
    ):
        """`mixtures` has one entry per level."""
        super().__init__(trained, levels, features)
        self.mixtures = mixtures
        self.codebook = codebook

    @property
    def feature_width(self) -> int:
        """Entries of an embedding and of a text vector."""
        return self.codebook.feature_width

    def encode(self, embeddings: Float[Tensor, "p d"]) -> Float[Tensor, "p c"]:
        """Raises InputError: a codebook has no code space in which a phrase could be compared."""
        raise InputError("--compare latent needs codes of an autoencoder or of principal components; this field is lifted.")

    def scores(self, vectors: Float[Tensor, "v d"]) -> Float[Tensor, "n levels v"]:
        """Inner products of the mixed embeddings, which are shorter than 1, with unit vectors."""
        return self._blend(lambda level: self.codebook.scores(vectors, level))

    @property
    def codes(self) -> Float[Tensor, "n levels c"]:
        """Coordinates of the mixed embeddings along the codebook's principal directions."""
        return self._blend(self.codebook.coordinates)

    @cached_property
    def residuals(self) -> Float[Tensor, "n levels"]:
        """Mean over the mixed codes of the length of the component orthogonal to the principal directions."""
        return self._blend(self._off_basis)[..., 0]

    @cached_property
    def lengths(self) -> Float[Tensor, "n levels"]:
        """Lengths of the mixed embeddings."""
        return torch.stack([mixture.norm for mixture in self.mixtures], 1)

    @cached_property
    def coverage(self) -> Float[Tensor, "n levels"]:
        """Share of a Gaussian's blending weight that fell on pixels with a segment."""
        return torch.stack([mixture.coverage for mixture in self.mixtures], 1)

    def view(self, camera: Camera) -> "MixtureView":
        """The field in the view of a camera."""
        return MixtureView(self, camera)

    def _blend(self, table_of: Callable[[str], Float[Tensor, "codes c"]]) -> Float[Tensor, "n levels c"]:
        return torch.stack([found.blend(table_of(level)) for level, found in zip(self.levels, self.mixtures, strict=True)], 1)

    def _off_basis(self, level: str) -> Float[Tensor, "codes 1"]:
        squares = self.codebook.centroids(level).square().sum(1) - self.codebook.coordinates(level).square().sum(1)
        return squares.clamp_min(0).sqrt()[:, None]

    def _content(self) -> list[Tensor]:
        mixed = [tensor for found in self.mixtures for tensor in (found.indices, found.weights, found.coverage)]
        return mixed + [self.codebook.centroids(level) for level in self.levels]


class MixtureView(FieldView):
    """Caches the lengths of the rendered embeddings, so that a phrase costs one channel per level."""

    field: MixtureField

    def prepare(self, protocol: bool) -> None:
        """Render what does not depend on the text."""
        if protocol:
            self.lengths  # noqa: B018 - fills the cache

    @cached_property
    def lengths(self) -> Float[Tensor, "levels h w"]:
        """Lengths of the rendered embeddings.

        Components along the principal directions are exact. The residuals of all codes at a pixel are assumed to be parallel,
        which is exact where one code covers the pixel and an upper bound elsewhere. (The measured error is in
        docs/protocols.md.)
        """
        codes = self.field.codes
        channels = torch.cat([codes, self.field.residuals[..., None]], -1)
        rendered = self.render(channels)
        squares = rendered[:, 0].square()
        for channel in rendered.unbind(1)[1:]:  # torch's sum over this axis reads pixels far apart: four times as long
            squares.addcmul_(channel, channel)
        return squares.sqrt_()

    @torch.inference_mode()
    def protocol_relevancy(self, phrases: Float[Tensor, "p d"], negatives: Negatives) -> Float[Tensor, "levels p h w"]:
        """Relevancy of the rendered embedding, normalised at every pixel; 0.5, as for a zero vector, where there is none."""
        cosines, rival = self.compared(self.field.scores(phrases), negatives)
        slope = negatives.temperature / self.lengths.clamp_min(1e-12)[:, None]
        return cosines.sub_(rival).mul_(slope).sigmoid_()
