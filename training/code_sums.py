"""Sums of blending weights by code, in a bounded number of places for each Gaussian."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

EMPTY = -1  # as a code in 16 bits; a table has at most 65,535 codes, so no code reads like it


class CodeSums:
    """Blending weight of every Gaussian at one level: in total, without a segment, and by code.

    A Gaussian has `places` codes. Sums are exact as long as it is seen with no more; then a new code takes the place of the
    one with the smallest sum if it outweighs it, and what loses its place is only counted in the total. Memory is
    `6 * places + 8` bytes for each Gaussian, whatever the number of views.
    """

    def __init__(self, num_gaussians: int, places: int, device: torch.device):
        self.codes = torch.full((num_gaussians, places), EMPTY, dtype=torch.int16, device=device)
        self.weights = torch.zeros(num_gaussians, places, device=device)
        self.used = torch.zeros(num_gaussians, dtype=torch.int64, device=device)
        self.labelled = torch.zeros(num_gaussians, device=device)
        self.unlabelled = torch.zeros(num_gaussians, device=device)

    def add(self, gaussians: Int[Tensor, " m"], codes: Int[Tensor, " m"], weights: Float[Tensor, " m"]) -> None:
        """Add one view's sums: rows (Gaussian, code, weight) ascending by Gaussian, no pair of Gaussian and code twice."""
        codes = codes.to(torch.int16)
        same = self.codes[gaussians] == codes[:, None]
        places = self.codes.shape[1]
        hit = same.any(1)
        flat = gaussians[hit] * places + same[hit].to(torch.uint8).argmax(1)
        self.weights.view(-1)[flat] += weights[hit]
        gaussians, codes, weights = gaussians[~hit], codes[~hit], weights[~hit]
        place = self.used[gaussians] + _rank(gaussians)
        free = place < places
        flat = gaussians[free] * places + place[free]
        self.codes.view(-1)[flat], self.weights.view(-1)[flat] = codes[free], weights[free]
        self.used.index_add_(0, gaussians[free], torch.ones_like(gaussians[free]))
        self._displace(gaussians[~free], codes[~free], weights[~free])

    def _displace(self, gaussians: Tensor, codes: Tensor, weights: Tensor) -> None:
        """Codes of Gaussians whose places are taken: one of each Gaussian after the other."""
        while len(gaussians):
            first = _rank(gaussians) == 0
            g, c, w = gaussians[first], codes[first], weights[first]
            smallest, place = self.weights[g].min(1)
            heavier = w > smallest
            flat = g[heavier] * self.codes.shape[1] + place[heavier]
            self.codes.view(-1)[flat], self.weights.view(-1)[flat] = c[heavier], w[heavier]
            gaussians, codes, weights = gaussians[~first], codes[~first], weights[~first]

    def largest(self, k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The k codes of each Gaussian with the largest sums, largest first, and these sums; 0 and 0.0 where there are fewer."""
        weights, places = self.weights.topk(min(k, self.weights.shape[1]), dim=1)
        codes = self.codes.gather(1, places).to(torch.int64) & 0xFFFF
        return torch.where(weights > 0, codes, 0), weights

    def state(self) -> dict[str, Any]:
        """Everything an interrupted run needs."""
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        for name, value in vars(self).items():
            value.copy_(state[name])


def _rank(gaussians: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Position of each entry among the entries of its Gaussian, for ascending Gaussians."""
    index = torch.arange(len(gaussians), device=gaussians.device)
    starts = torch.ones_like(gaussians, dtype=torch.bool)
    starts[1:] = gaussians[1:] != gaussians[:-1]
    return index - torch.where(starts, index, 0).cummax(0).values
