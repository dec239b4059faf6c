"""A scene's embeddings as input of compressors, some of them held out to measure on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from autoencoder.config import AutoencoderConfig, Tokens
from features.feature_store import FeatureStore
from workspace import InputError

SAMPLE_ROWS = 20_000  # approximate maximum of embeddings to measure reconstruction on, in training and in validation each


def train_share(config: AutoencoderConfig, default: float) -> float:
    """Share of all embeddings to fit; InputError unless it is the default or between 0 and 1."""
    share = default if config.train_share is None else config.train_share
    if not (0 < share < 1 or share == default):
        raise InputError(f"--train_share {share}: expected a share between 0 and 1.")
    return share


@dataclass(frozen=True)
class Rows:
    """Embeddings and, for compressors with separate codes at each level, their levels and pixel counts."""

    embeddings: Float[Tensor, "m d"]
    levels: Int[Tensor, " m"] | None = None
    """Index into the levels of the features."""
    pixels: Float[Tensor, " m"] | None = None
    """Number of image pixels that each embedding covers."""

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, index: Tensor | slice) -> "Rows":
        return Rows(*(None if values is None else values[index] for values in (self.embeddings, self.levels, self.pixels)))

    @staticmethod
    def joined(parts: "list[Rows]") -> "Rows":
        """The rows of all `parts`, in order."""
        columns = zip(*((part.embeddings, part.levels, part.pixels) for part in parts), strict=True)
        return Rows(*(None if column[0] is None else torch.cat(column) for column in columns))


class Embeddings:
    """Embeddings of a scene, split at random into those to fit and those held out.

    A share of `train_share` of the scene's embeddings is fitted; below 1, at least one of the first image is held out.
    Iterating reads the features once and yields the rows to fit, image by image; afterwards samples of both parts, spread
    evenly over the images, are available to measure on.
    """

    def __init__(
        self,
        store: FeatureStore,
        train_share: float,
        seed: int,
        device: torch.device,
        *,
        tokens: Tokens = "unit",
        by_level: bool = False,
    ):
        """`tokens` says whether embeddings are used as stored or normalised, both for fitting and for writing codes;
        `by_level` adds levels and pixels to the rows."""
        self.store, self.keys, self.device, self.tokens = store, store.keys(), device, tokens
        self._train_share, self._seed, self._by_level = train_share, seed, by_level
        self._fitted_sample: list[Rows] = []
        self._held_out_sample: list[Rows] = []

    def of(self, key: str) -> Float[Tensor, "*shape d"]:
        """All embeddings of one image, as input of compressors: [m, d] of segments or [h, w, d] of patches."""
        rows = torch.from_numpy(self.store.embeddings(key)).to(self.device, torch.float32)
        return F.normalize(rows, dim=-1) if self.tokens == "unit" else rows

    def levels(self, key: str) -> Int[Tensor, "*shape"]:
        """Index of each embedding's level."""
        return torch.from_numpy(self.store.membership(key)[0]).to(self.device)

    def __iter__(self) -> Iterator[Rows]:
        """Rows to fit, image by image.

        Raises:
            InputError: images have embeddings of different widths, or the scene has fewer than two to fit.
        """
        generator = torch.Generator().manual_seed(self._seed)
        per_image = math.ceil(SAMPLE_ROWS / len(self.keys))
        total = held_out = 0
        width = None
        self._fitted_sample, self._held_out_sample = [], []
        for key in tqdm(self.keys, desc="reading embeddings", unit="image"):
            rows = self._rows(key)
            width = width or rows.embeddings.shape[1]
            if rows.embeddings.shape[1] != width:
                raise InputError(
                    f"Image '{key}' has features {rows.embeddings.shape[1]} wide, '{self.keys[0]}' {width} wide; expected one "
                    f"width. Make them again: {self.store.command()} --overwrite"
                )
            total += len(rows)
            hold = min(len(rows), math.ceil(total * (1 - self._train_share) - 1e-9) - held_out)
            held_out += hold
            order = torch.randperm(len(rows), generator=generator).to(self.device)
            self._held_out_sample.append(rows[order[:hold][:per_image]])
            self._fitted_sample.append(rows[order[hold:][:per_image]])
            yield rows[order[hold:]]
        if total - held_out < 2:
            raise InputError(f"{self.store.scene.root} has {total} embeddings, too few to fit a compressor to.")

    def fitted_sample(self) -> Rows:
        """At most about SAMPLE_ROWS of the rows to fit, after a pass over all images."""
        return Rows.joined(self._fitted_sample)

    def held_out_sample(self) -> Rows:
        """At most about SAMPLE_ROWS of the rows held out, after a pass over all images; none when all are fitted."""
        return Rows.joined(self._held_out_sample)

    def _rows(self, key: str) -> Rows:
        embeddings = self.of(key).flatten(0, -2)
        if not self._by_level:
            return Rows(embeddings)
        levels, pixels = (torch.from_numpy(values).reshape(-1).to(self.device) for values in self.store.membership(key))
        return Rows(embeddings, levels, pixels.to(torch.float32))
