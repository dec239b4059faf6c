"""The published kind of field: every Gaussian has a code per level, which the compressor decodes."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from gaussian_renderer.trained_model import TrainedModel
from query.field import FieldView, LanguageField, Negatives
from query.relevancy import CHUNK_BYTES, relevancy_maps
from scene.camera import Camera
from workspace.record_types import FeatureSettings


class CodeField(LanguageField):
    """Concatenated codes of all levels, blended as codes and decoded per pixel."""

    def __init__(
        self,
        trained: TrainedModel,
        levels: tuple[str, ...],
        features: FeatureSettings,
        channels: Float[Tensor, "n lc"],
        compressor: Compressor,
    ):
        """`channels` are the blended channels: the concatenated codes of all levels."""
        super().__init__(trained, levels, features)
        self.channels = channels
        self.compressor = compressor

    @property
    def feature_width(self) -> int:
        """Entries of an embedding and of a text vector."""
        return self.compressor.feature_width

    def encode(self, embeddings: Float[Tensor, "p d"]) -> Float[Tensor, "p c"]:
        """Codes of text vectors."""
        return self.compressor.encode(embeddings)

    @torch.inference_mode()
    def scores(self, vectors: Float[Tensor, "v d"]) -> Float[Tensor, "n levels v"]:
        """Cosines of the decoded codes, which have unit length."""
        known, readout = self.known, self.compressor.readout(vectors)
        found = self.channels.new_zeros(*known.shape, len(vectors))
        codes = self.codes[known].split(CHUNK_BYTES // (4 * readout.width))
        found[known] = torch.cat([readout(part) for part in codes])
        return found

    @property
    def codes(self) -> Float[Tensor, "n levels c"]:
        """The codes as they are blended."""
        return self.channels.unflatten(1, (len(self.levels), -1))

    @property
    def lengths(self) -> Float[Tensor, "n levels"]:
        """Always 1: a decoder returns unit vectors."""
        return self.coverage

    @cached_property
    def coverage(self) -> Float[Tensor, "n levels"]:
        """1 for every Gaussian with a code; codes do not store which share of its weight had a feature."""
        return self.codes.ne(0).any(-1).float()

    def view(self, camera: Camera) -> "CodeView":
        """The field in the view of a camera."""
        return CodeView(self, camera)

    def _content(self) -> list[Tensor]:
        return [self.channels]


class CodeView(FieldView):
    """Caches rendered codes. They are decoded again for every phrase, since embeddings of all pixels take gigabytes."""

    field: CodeField

    def prepare(self, protocol: bool) -> None:
        """Render the codes; only the protocol reading needs them."""
        if protocol:
            self.codes  # noqa: B018 - fills the cache

    def protocol_relevancy(self, phrases: Float[Tensor, "p d"], negatives: Negatives) -> Float[Tensor, "levels p h w"]:
        """Relevancy of the decoded codes, which the decoder makes unit vectors."""
        readout = self.field.compressor.readout(torch.cat([phrases, negatives.embeddings]))
        return torch.stack([relevancy_maps(level, readout, len(phrases), negatives.temperature) for level in self.codes])
