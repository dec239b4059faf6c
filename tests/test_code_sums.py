"""Sums of blending weights by code against a plain dictionary, with places enough and with too few."""

import numpy as np
import pytest
import torch

from training import code_sums
from training.code_sums import CodeSums

N, CODES = 40, 65535


def _views(count, codes, seed=0):
    """Rows (Gaussian, code, weight) as the rasterizer lists them, of several views."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        weights = torch.rand(N, len(codes), generator=generator) * (torch.rand(N, len(codes), generator=generator) < 0.5)
        gaussians, columns = weights.nonzero(as_tuple=True)
        yield gaussians, torch.tensor(codes)[columns], weights[gaussians, columns]


def _plain(views):
    sums = [{} for _ in range(N)]
    for rows in views:
        for gaussian, code, weight in zip(*(column.tolist() for column in rows), strict=True):
            sums[gaussian][code] = sums[gaussian].get(code, 0.0) + weight
    return sums


@pytest.fixture(autouse=True, params=[0, 100, 10**6])
def buffer(request, monkeypatch):
    """Rows are added one view at a time, some at a time, and all at the end."""
    monkeypatch.setattr(code_sums, "BUFFER", request.param)


@pytest.mark.parametrize("codes", [range(6), [0, 7, 32767, 32768, 40000, CODES - 1]])
def test_sums_are_exact_while_there_are_places(codes):
    found = CodeSums(N, CODES, 6, torch.device("cpu"))
    for rows in _views(9, list(codes)):
        found.add(*rows)
    indices, weights = found.largest(4)
    for gaussian, expected in enumerate(_plain(_views(9, list(codes)))):
        largest = sorted(expected.items(), key=lambda item: -item[1])[:4]
        assert indices[gaussian].tolist() == [code for code, _ in largest]
        assert weights[gaussian].tolist() == pytest.approx([weight for _, weight in largest], rel=1e-5)


def test_a_gaussian_without_codes_has_none():
    found = CodeSums(3, CODES, 4, torch.device("cpu"))
    found.add(torch.tensor([1]), torch.tensor([5]), torch.tensor([0.5]))
    indices, weights = found.largest(2)
    assert indices.tolist() == [[0, 0], [5, 0], [0, 0]] and weights.tolist() == [[0, 0], [0.5, 0], [0, 0]]


def test_with_too_few_places_the_heavy_codes_stay(buffer):
    """Two codes that a Gaussian is mostly seen with, and twenty that it is seen with a little, in every order."""
    generator = torch.Generator().manual_seed(1)
    found = CodeSums(1, 22, 5, torch.device("cpu"))
    for _ in range(30):
        codes = torch.randperm(22, generator=generator)[:9].sort().values
        weights = torch.where(codes < 2, 5.0 + codes, 0.1 * torch.rand(9, generator=generator))
        found.add(torch.zeros(9, dtype=torch.int64), codes, weights)
    indices, _ = found.largest(2)
    assert sorted(indices[0].tolist()) == [0, 1]
    assert (found.of(np.array([0])) > 0).sum() == 5


def test_an_interrupted_sum_goes_on():
    whole, first, second = (CodeSums(N, CODES, 6, torch.device("cpu")) for _ in range(3))
    views = list(_views(8, list(range(6))))
    for index, rows in enumerate(views):
        whole.add(*rows)
        (first if index < 3 else second).add(*rows) if index != 3 else None
        if index == 2:
            second.restore(first.state())
        if index == 3:
            second.add(*rows)
    np.testing.assert_array_equal(second.of(np.arange(N)), whole.of(np.arange(N)))
