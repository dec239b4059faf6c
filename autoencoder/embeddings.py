"""A scene's embeddings as compressors see them: rows of unit length, some held out to measure on."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from autoencoder.config import AutoencoderConfig
from features.feature_store import FeatureStore
from workspace import InputError

SAMPLE_ROWS = 20_000  # embeddings the reconstruction is measured on, at most, in training and in validation


def train_share(config: AutoencoderConfig, default: float) -> float:
    """Share of all embeddings to fit; InputError when it is none of them or all."""
    share = default if config.train_share is None else config.train_share
    if not 0 < share < 1:
        raise InputError(f"--train_share {share}: expected a share between 0 and 1.")
    return share


class Embeddings:
    """Embeddings of a scene, split at random into those to fit and those held out.

    Over the whole scene `train_share` of all embeddings are to be fitted; the first image always holds one out. Iterating
    reads the features once and yields the rows to fit, image by image; afterwards samples of both parts, spread evenly over
    the images, are there to measure on.
    """

    def __init__(self, store: FeatureStore, train_share: float, seed: int, device: torch.device):
        self.store, self.keys, self.device = store, store.keys(), device
        self._train_share, self._seed = train_share, seed
        self._fitted_sample: list[Tensor] = []
        self._held_out_sample: list[Tensor] = []

    def __iter__(self) -> Iterator[Float[Tensor, "k d"]]:
        """Unit rows to fit, of one image after the other.

        Raises:
            InputError: images have embeddings of different widths, or the scene has fewer than two to fit.
        """
        generator = torch.Generator().manual_seed(self._seed)
        per_image = math.ceil(SAMPLE_ROWS / len(self.keys))
        total = held_out = 0
        width = None
        self._fitted_sample, self._held_out_sample = [], []
        for key in tqdm(self.keys, desc="reading embeddings", unit="image"):
            rows = self.store.embeddings(key)
            rows = torch.from_numpy(rows.reshape(-1, rows.shape[-1]))
            width = width or rows.shape[1]
            if rows.shape[1] != width:
                raise InputError(
                    f"Image '{key}' has features {rows.shape[1]} wide, '{self.keys[0]}' {width} wide; expected one width. Make "
                    f"them again: {self.store.command()} --overwrite"
                )
            total += len(rows)
            hold = min(len(rows), math.ceil(total * (1 - self._train_share) - 1e-9) - held_out)
            held_out += hold
            order = torch.randperm(len(rows), generator=generator)
            self._held_out_sample.append(self._unit(rows[order[:hold][:per_image]]))
            fitted = self._unit(rows[order[hold:]])
            self._fitted_sample.append(fitted[:per_image].clone())
            yield fitted
        if total - held_out < 2:
            raise InputError(f"{self.store.scene.root} has {total} embeddings, too few to fit a compressor to.")

    def fitted_sample(self) -> Float[Tensor, "k d"]:
        """At most about SAMPLE_ROWS of the rows to fit, after a whole pass."""
        return torch.cat(self._fitted_sample)

    def held_out_sample(self) -> Float[Tensor, "v d"]:
        """At most about SAMPLE_ROWS of the rows held out, after a whole pass."""
        return torch.cat(self._held_out_sample)

    def _unit(self, rows: Tensor) -> Tensor:
        return F.normalize(rows.to(self.device, torch.float32), dim=1)
