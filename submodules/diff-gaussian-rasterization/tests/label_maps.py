"""Label maps for the tests of lifting, and what their sums are held to."""

import torch
from diff_gaussian_rasterization import LiftedLabels, reference

GEOMETRY = ("means", "scales", "rotations", "opacities")


def label_maps(view, seed=0):
    """Three levels: bands of large segments, cells of 5x3 pixels with holes, and noise of 40 labels."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(view.height), torch.arange(view.width), indexing="ij")
    bands = (columns + 2 * rows) // 25
    cells = (rows // 3 * 1000 + columns // 5) * 7
    cells[(rows // 3 + columns // 5) % 4 == 0] = -1
    noise = torch.randint(-1, 40, (view.height, view.width), generator=generator)
    return torch.stack([bands, cells, noise])


def assert_same_sums(found: LiftedLabels, expected: LiftedLabels):
    # Rounding of the float32 projection and blending; sums of positive numbers keep the relative error of their terms.
    close = {"rtol": 1e-5, "atol": 1e-6}  # in pixels; the latter for sums of a few faint samples
    for a, b in zip(found.levels, expected.levels, strict=True):
        assert torch.equal(a.gaussians, b.gaussians) and torch.equal(a.labels, b.labels)
        torch.testing.assert_close(a.weights, b.weights.to(a.weights), **close)
    torch.testing.assert_close(found.labelled, expected.labelled.to(found.labelled), **close)
    torch.testing.assert_close(found.unlabelled, expected.unlabelled.to(found.unlabelled), **close)


def expected_sums(view, gaussians, maps, samples="all"):
    return reference.lift(view, *[gaussians[k].double() for k in GEOMETRY], maps, samples)
