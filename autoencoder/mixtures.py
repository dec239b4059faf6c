"""Mixtures of codebook codes that Gaussians carry: a few codes, their shares, and the Gaussian's coverage by segments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from workspace import InputError, load_records

MAX_CODES = 2**16 - 1  # indices are stored in 16 bits; one value is reserved for "none"


def record_type(codes_per_gaussian: int) -> np.dtype:
    """Record of one Gaussian at one level on disk: 3 bytes for each code and 3 more, 9 with two codes."""
    k = codes_per_gaussian
    return np.dtype([("indices", "<u2", (k,)), ("weights", "u1", (k,)), ("norm", "<f2"), ("coverage", "u1")])


@dataclass(frozen=True)
class Mixtures:
    """Mixtures of codes of all Gaussians at one level.

    A Gaussian that covers no pixel with a code is unknown: its weights, norm and coverage are zero.
    """

    indices: Int[Tensor, "n k"]
    """Rows of the level's table of codes."""
    weights: Float[Tensor, "n k"]
    """Shares of these codes, largest first; each row sums to 1."""
    norm: Float[Tensor, " n"]
    """Length of the mixed embedding, in [0, 1]; the codes are means of unit vectors and shorter than 1 themselves."""
    coverage: Float[Tensor, " n"]
    """Share of a Gaussian's blending weight that fell on pixels with a segment, in [0, 1]; above 0 where it is known."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: Tensor | slice) -> "Mixtures":
        return Mixtures(self.indices[rows], self.weights[rows], self.norm[rows], self.coverage[rows])

    @property
    def known(self) -> Tensor:
        """[n] bool: has at least one code."""
        return self.coverage > 0

    def blend(self, table: Float[Tensor, "codes c"]) -> Float[Tensor, "n c"]:
        """Sum of the mixed codes' rows of `table`, times their shares; zero where unknown."""
        return F.embedding_bag(self.indices, table, per_sample_weights=self.weights.to(table.dtype), mode="sum")


def pack(
    indices: Int[Tensor, "n k"], weights: Float[Tensor, "n k"], coverage: Float[Tensor, " n"], gram: Float[Tensor, "codes codes"]
) -> np.ndarray:
    """Mixtures as they are stored: [n] records of `record_type(k)`.

    Args:
        indices: rows of the level's table, largest weight first.
        weights: not negative; each row is normalised. A row of zeros is unknown.
        coverage: in [0, 1]. Known Gaussians are stored with 1/255 or more.
        gram: dot products of the level's codes.
    """
    records = np.zeros(len(indices), record_type(indices.shape[1]))
    known = weights.sum(1) > 0
    shares = torch.where(known[:, None], weights / weights.sum(1, keepdim=True).clamp_min(1e-30), 0)
    levels = (shares * 255 + 0.5).to(torch.uint8)
    records["weights"] = levels.cpu().numpy()
    records["indices"] = torch.where(levels > 0, indices, 0).cpu().numpy().astype(np.uint16)
    stored = levels.to(gram.dtype)
    stored = stored / stored.sum(1, keepdim=True).clamp_min(1)  # the norm is that of the quantised mixture, as it is read
    squares = torch.zeros(len(indices), dtype=gram.dtype, device=gram.device)
    for i in range(indices.shape[1]):
        for j in range(indices.shape[1]):
            squares += stored[:, i] * stored[:, j] * gram[indices[:, i], indices[:, j]]
    records["norm"] = squares.clamp_min(0).sqrt().cpu().numpy()
    records["coverage"] = torch.where(known, (coverage * 255).round().clamp(1, 255), 0).to(torch.uint8).cpu().numpy()
    return records


def load_mixtures(
    path: Path, num_gaussians: int, num_codes: int, device: torch.device | str = "cpu", remedy: str = "Lift it again."
) -> Mixtures:
    """Read one level of a lifted field, of `num_gaussians` Gaussians over a table of `num_codes` codes.

    Raises:
        InputError: the file is missing, damaged, or belongs to other Gaussians or to another codebook; the message ends with
            the `remedy`.
    """
    records = load_records(path)
    problem = _problem(records, num_gaussians, num_codes)
    if problem:
        raise InputError(f"{path} {problem}. {remedy}")
    weights = torch.from_numpy(records["weights"].astype(np.float32)).to(device)
    return Mixtures(
        torch.from_numpy(records["indices"].astype(np.int32)).to(device),
        weights / weights.sum(1, keepdim=True).clamp_min(1),
        torch.from_numpy(records["norm"].astype(np.float32)).to(device),
        torch.from_numpy(records["coverage"].astype(np.float32) / 255).to(device),
    )


def _problem(records: Any, num_gaussians: int, num_codes: int) -> str | None:
    names = records.dtype.names or ()
    k = records.dtype["indices"].shape if "indices" in names else ()
    if len(k) != 1 or records.dtype != record_type(k[0]):
        return f"holds {records.dtype}; expected mixtures of codes, {record_type(2)}"
    if records.shape != (num_gaussians,):
        return f"holds mixtures of shape {records.shape}; expected those of {num_gaussians} Gaussians"
    if len(records) and int(records["indices"].max()) >= num_codes:
        return f"names code {int(records['indices'].max())}; the codebook has {num_codes} codes: it is another one"
    if not np.isfinite(records["norm"]).all():
        return "holds norms that are not finite"
    return None
