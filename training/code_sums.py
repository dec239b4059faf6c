"""Blending weights summed by Gaussian and code; memory does not grow with the number of views."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array, csr_array
from torch import Tensor

BUFFER = 4_000_000  # rows buffered before a flush, which makes a pass over all sums
CHUNK = 65_536  # Gaussians whose largest codes are selected at once


class CodeSums:
    """Blending weight of every Gaussian at one level: on pixels with a code (`labelled`), without (`unlabelled`), and by code.

    At most `places` codes per Gaussian are kept after each flush. Sums are exact for Gaussians with no more codes than that;
    of others the smallest sums are dropped and count only in `labelled`. Each stored sum takes 8 bytes.
    """

    def __init__(self, num_gaussians: int, num_codes: int, places: int, device: torch.device):
        self.labelled = torch.zeros(num_gaussians, device=device)
        self.unlabelled = torch.zeros(num_gaussians, device=device)
        self._places = places
        self._sums = csr_array((num_gaussians, num_codes), dtype=np.float32)
        self._buffer: list[tuple[np.ndarray, ...]] = []

    def add(self, gaussians: Int[Tensor, " m"], codes: Int[Tensor, " m"], weights: Float[Tensor, " m"]) -> None:
        """Add rows (Gaussian, code, weight) to the sums; rows may repeat."""
        rows = gaussians.to(torch.int32), codes.to(torch.int32), weights.to(torch.float32)
        self._buffer.append(tuple(column.cpu().numpy() for column in rows))
        if sum(len(gaussians) for gaussians, _, _ in self._buffer) > BUFFER:
            self._flush()

    def largest(self, k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The k codes of each Gaussian with the largest sums, in descending order, and the sums; padded with 0 and 0.0."""
        found = [self._largest(sums, k) for sums in self._parts()]
        codes, weights = (torch.cat(columns).to(self.labelled.device) for columns in zip(*found, strict=True))
        return codes, weights

    def of(self, gaussians: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m codes"]:
        """Sums of the given Gaussians over all codes, 0 where there is none."""
        self._flush()
        return self._sums[gaussians].toarray()

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, read by `restore`."""
        sums = {name: torch.from_numpy(getattr(self._sums, name)) for name in ("data", "indices", "indptr")}
        buffer = [[torch.from_numpy(column) for column in rows] for rows in self._buffer]  # flushed after a restore
        return {"labelled": self.labelled, "unlabelled": self.unlabelled, "buffer": buffer, **sums}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.labelled.copy_(state["labelled"])
        self.unlabelled.copy_(state["unlabelled"])
        columns = (state[name].cpu().numpy() for name in ("data", "indices", "indptr"))
        self._sums = csr_array(tuple(columns), shape=self._sums.shape)
        self._buffer = [tuple(column.cpu().numpy() for column in rows) for rows in state["buffer"]]

    def _flush(self) -> None:
        if not self._buffer:
            return
        gaussians, codes, weights = (np.concatenate(columns) for columns in zip(*self._buffer, strict=True))
        self._buffer = []
        self._sums = self._sums + coo_array((weights, (gaussians, codes)), shape=self._sums.shape).tocsr()
        lengths = np.diff(self._sums.indptr)
        if lengths.max(initial=0) > self._places:
            self._drop_smallest(lengths)

    def _drop_smallest(self, lengths: Int[np.ndarray, " n"]) -> None:
        """Keep only the `places` largest sums of the Gaussians that have more."""
        sums, kept = self._sums, np.ones(len(self._sums.data), bool)
        crowded = np.flatnonzero(lengths > self._places)
        for start in range(0, len(crowded), CHUNK):
            rows = crowded[start : start + CHUNK]
            entries, inside = _entries(sums.indptr[rows], lengths[rows])
            weights = torch.from_numpy(np.where(inside, sums.data[entries], -1))
            largest = weights.topk(self._places, dim=1).indices.numpy()
            kept[entries[inside]] = False
            kept[np.take_along_axis(entries, largest, 1)] = True
        indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, self._places))]).astype(sums.indptr.dtype)
        self._sums = csr_array((sums.data[kept], sums.indices[kept], indptr), shape=sums.shape)

    def _parts(self) -> Iterator[csr_array]:
        self._flush()
        for start in range(0, self._sums.shape[0], CHUNK):
            yield self._sums[start : start + CHUNK]

    def _largest(self, sums: csr_array, k: int) -> tuple[Tensor, Tensor]:
        lengths = np.diff(sums.indptr)
        if not len(sums.data):
            return torch.zeros(len(lengths), k, dtype=torch.int64), torch.zeros(len(lengths), k)
        entries, inside = _entries(sums.indptr[:-1], lengths, k)
        largest, place = torch.from_numpy(np.where(inside, sums.data[entries], 0)).topk(k, dim=1)
        codes = torch.from_numpy(np.where(inside, sums.indices[entries], 0).astype(np.int64))
        return codes.gather(1, place), largest


def _entries(
    starts: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"], least: int = 1
) -> tuple[Int[np.ndarray, "n w"], Bool[np.ndarray, "n w"]]:
    """Positions of each row's entries, padded to a width of `least` or more, and which of them are the row's."""
    columns = np.arange(max(least, lengths.max(initial=0)))
    inside = columns < lengths[:, None]
    return np.where(inside, starts[:, None] + columns, 0), inside
