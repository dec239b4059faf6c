"""Vectors of codes on disk: one row per Gaussian at one level of a field."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workspace import InputError, load_array


def load_vectors(path: Path, count: int, width: int, remedy: str) -> Float[Tensor, "{count} {width}"]:
    """Codes of `count` Gaussians, `width` numbers each, as float32.

    Raises:
        InputError: the file is missing, damaged, of another shape or type, or holds numbers that are not finite; the message
            ends with the `remedy`.
    """
    found = load_array(path)
    if found.dtype.kind != "f" or found.shape != (count, width):
        raise InputError(f"{path} holds {found.dtype} {list(found.shape)}; expected floats {[count, width]}. {remedy}")
    with np.errstate(over="ignore"):
        codes = torch.from_numpy(found.astype(np.float32))
    if not codes.isfinite().all():
        raise InputError(f"{path} holds codes that are not finite. {remedy}")
    return codes
