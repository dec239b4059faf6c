"""Mixtures on disk: 15 bytes a Gaussian and level, what they lose, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autoencoder.mixtures import load_mixtures, pack, record_type
from workspace import InputError, save_array


def _level(num_gaussians=500, codes=300, k=4):
    generator = torch.Generator().manual_seed(0)
    table = 0.8 * F.normalize(torch.randn(codes, 16, generator=generator) + 1, dim=1)
    indices = torch.stack([torch.randperm(codes, generator=generator)[:k] for _ in range(num_gaussians)])
    weights = torch.rand(num_gaussians, k, generator=generator).sort(descending=True).values * 7
    weights[3], weights[4, 1:] = 0, 0
    coverage = torch.rand(num_gaussians, generator=generator)
    coverage[5] = 1e-4
    return table, indices, weights, coverage


def test_a_level_takes_fifteen_bytes_for_a_gaussian_and_comes_back(tmp_path):
    table, indices, weights, coverage = _level()
    records = pack(indices, weights, coverage, table @ table.T)
    assert record_type(4).itemsize == 15
    save_array(tmp_path / "s.npy", records)
    assert (tmp_path / "s.npy").stat().st_size < 15 * 500 + 300  # and a header
    found = load_mixtures(tmp_path / "s.npy", 500, 300)
    known = weights.sum(1) > 0
    assert torch.equal(found.known, known) and not known[3] and known[5]
    expected = F.normalize(weights[known], p=1, dim=1)
    assert (found.weights[known] - expected).abs().max() < 0.006  # rounded to 1/255, then divided by their sum
    torch.testing.assert_close(found.weights[known].sum(1), torch.ones(499))
    assert (found.coverage - coverage)[known].abs().max() < 0.5 / 255 + 0.004  # what is known is covered by 1/255 or more
    embeddings = found.blend(table)
    # the norm is of the stored mixture, in half precision
    torch.testing.assert_close(found.norm, embeddings.norm(dim=1), rtol=1e-3, atol=1e-6)
    cosine = F.cosine_similarity(embeddings[known], torch.einsum("nk,nkd->nd", expected, table[indices[known]]), dim=1)
    assert cosine.min() > 0.9999
    assert found.blend(table)[3].abs().sum() == 0 and found.norm[3] == found.coverage[3] == 0


def test_mixtures_of_other_gaussians_or_codes_and_other_files_are_refused(tmp_path):
    table, indices, weights, coverage = _level()
    path = tmp_path / "s.npy"
    records = pack(indices, weights, coverage, table @ table.T)
    save_array(path, records)
    with pytest.raises(InputError, match="expected those of 501 Gaussians"):
        load_mixtures(path, 501, 300)
    with pytest.raises(InputError, match=r"names code 29\d; the codebook has 200 codes: it is another one"):
        load_mixtures(path, 500, 200)
    records["norm"][7] = np.nan
    save_array(path, records)
    with pytest.raises(InputError, match="norms that are not finite"):
        load_mixtures(path, 500, 300)
    for other in (np.zeros((500, 3), np.float32), np.zeros(500, [("indices", "<u2", (4,)), ("weights", "<f4", (4,))])):
        save_array(path, other)
        with pytest.raises(InputError, match="s.npy"):
            load_mixtures(path, 500, 300)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="s.npy"):
        load_mixtures(path, 500, 300)
