"""A scene's embeddings as the compressor sees them: rows of unit length, some held out to measure on."""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from features.feature_store import FeatureStore
from workspace import InputError

SAMPLE_ROWS = 20_000  # embeddings the reconstruction is measured on, at most, in training and in validation


def split_embeddings(
    store: FeatureStore, keys: Sequence[str], train_share: float, seed: int, device: torch.device
) -> Iterator[tuple[Float[Tensor, "k d"], Float[Tensor, "v d"]]]:
    """Unit embeddings of one image after the other, split at random into those to fit and those held out.

    Over the whole scene `train_share` of all embeddings are to be fitted; the first image always holds one out. Of those
    held out at most SAMPLE_ROWS are returned, spread evenly over the images.

    Raises:
        InputError: images have embeddings of different widths.
    """
    generator = torch.Generator().manual_seed(seed)
    total = held_out = 0
    width = None
    for key in keys:
        rows = store.embeddings(key)
        rows = torch.from_numpy(rows.reshape(-1, rows.shape[-1]))
        width = width or rows.shape[1]
        if rows.shape[1] != width:
            raise InputError(
                f"Image '{key}' has features {rows.shape[1]} wide, '{keys[0]}' {width} wide; expected one width. "
                f"Make them again: {store.command()} --overwrite"
            )
        total += len(rows)
        hold = min(len(rows), math.ceil(total * (1 - train_share) - 1e-9) - held_out)
        held_out += hold
        order = torch.randperm(len(rows), generator=generator)
        measured = order[:hold][: math.ceil(SAMPLE_ROWS / len(keys))]
        fitted, measured = (F.normalize(rows[index].to(device, torch.float32), dim=1) for index in (order[hold:], measured))
        yield fitted, measured
