"""The protocol equals the published evaluator: its recorded results, and its loops written out."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from autoencoder.kinds import read_compressor
from autoencoder.network import Autoencoder, published_widths
from autoencoder.pca import PCA
from evaluation.labels import read_lerf_ovs
from evaluation.overlap import intersection_over_union, localized, pairwise_overlap
from query.answer_rule import answer, threshold
from query.filters import box_mean, majority
from query.relevancy import latent_similarity, relevancy, relevancy_maps


def unit(rows):
    return nn.functional.normalize(torch.as_tensor(rows), dim=-1)


def test_relevancy_equals_published_values(shared):
    golden = np.load(shared / "golden" / "relevancy.npz")
    positives, negatives = torch.from_numpy(golden["pos"]), torch.from_numpy(golden["neg"])
    features = torch.from_numpy(golden["sem"].astype(np.float32))
    # float32 products of 512 terms in another order: 1e-6 on a score of order one.
    expected = torch.from_numpy(golden["max_across"]).movedim(1, 0)
    torch.testing.assert_close(relevancy(features, positives, negatives), expected, atol=2e-6, rtol=0)
    pair = relevancy(features[0].reshape(-1, 512), positives, negatives)
    torch.testing.assert_close(torch.stack([pair, 1 - pair], -1), torch.from_numpy(golden["rel"]), atol=2e-6, rtol=0)


def test_lerf_protocol_equals_published_evaluation(shared):
    folder = shared / "golden" / "lerf_protocol"
    expected = json.loads((folder / "expected.json").read_text())
    texts = np.load(folder / "text_embeddings.npz")
    embedded = {str(phrase): row for phrase, row in zip(texts["phrases"], unit(texts["embeddings"]), strict=True)}
    negatives = torch.stack([embedded[word] for word in ("object", "things", "stuff", "texture")])
    compressor = read_compressor(folder / "autoencoder.pth")
    ious, hits, levels = [], [], []
    for frame in read_lerf_ovs(folder / "label"):
        index = int(frame.name.removeprefix("frame_")) - 1
        codes = [torch.from_numpy(np.load(folder / f"level_{k}" / f"{index:05d}.npy")).movedim(-1, 0) for k in (1, 2, 3)]
        phrases = torch.stack([embedded[category] for category in frame.categories])
        readout = compressor.readout(torch.cat([phrases, negatives]))
        maps = torch.stack([relevancy_maps(level, readout, len(phrases)) for level in codes], 1)
        for category, levels_of_phrase in zip(frame.categories, maps, strict=True):
            found = answer(levels_of_phrase, expected["mask_threshold"])
            truth = torch.from_numpy(frame.mask(category, 160, 120))
            ious.append(intersection_over_union(found.mask, truth))
            hits.append(localized(found.points, torch.from_numpy(frame.boxes(category, 160, 120))))
            levels.append(found.level)
    # The recorded figures have four decimals.
    assert np.mean(ious) == pytest.approx(expected["miou"], abs=1e-4)
    assert np.mean(hits) == pytest.approx(expected["localization_accuracy"], abs=1e-4)
    assert levels == expected["chosen_levels"]


@pytest.mark.parametrize("size", [(61, 47), (9, 40), (1, 5), (2, 2), (30, 30)])
@pytest.mark.parametrize("window", [30, 7])
def test_box_mean_is_filter2d(size, window):
    values = np.random.default_rng(0).random(size, np.float32)
    expected = cv2.filter2D(values.astype(np.float64), -1, np.full((window, window), 1 / window**2))
    found = box_mean(torch.from_numpy(values)[None], window)[0]
    # float32 rounding of a mean of values in [0, 1].
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def published_majority(mask):
    """The published loops: windows [i - 3, i + 4) cut at h - 1 and w - 1, the value with the larger count, 0 on a tie."""
    height, width = mask.shape
    smooth = mask.copy()
    for i in range(height):
        for j in range(width):
            window = mask[max(0, i - 3) : min(i + 4, height - 1), max(0, j - 3) : min(j + 4, width - 1)]
            smooth[i, j] = np.argmax(np.bincount(window.reshape(-1))) if window.size else 0
    return smooth


@pytest.mark.parametrize("size", [(40, 31), (3, 50), (2, 2), (1, 9)])
def test_majority_is_the_published_loop(size):
    mask = (np.random.default_rng(1).random(size) > 0.5).astype(np.uint8)
    mask[:, -1] = mask[-1] = 1  # the row and column that no window reads
    found = majority(torch.from_numpy(mask.astype(bool)))
    np.testing.assert_array_equal(found.numpy(), published_majority(mask).astype(bool))


def test_a_phrase_is_found_where_it_is_relevant():
    maps = torch.full((3, 80, 90), 0.2)
    maps[0, 5:9, 5:9] = 0.9  # small: averaged away by the window
    maps[2, 30:70, 20:60] = 0.8
    found = answer(maps)
    assert (found.level, found.point_level) == (2, 2)
    x, y = found.point
    assert 20 <= x < 60 and 30 <= y < 70
    truth = torch.zeros(80, 90, dtype=torch.bool)
    truth[30:70, 20:60] = True
    assert intersection_over_union(found.mask, truth) > 0.8
    assert localized(found.points, torch.tensor([[0.0, 0, 1, 1], [20, 30, 59, 69]]))
    assert not localized(found.points, torch.tensor([[0.0, 0, 19, 29]]))


def test_boxes_include_their_edges():
    box = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    for x, y, inside in ((10, 20, True), (30, 40, True), (31, 40, False), (9, 30, False), (20, 41, False)):
        assert localized(torch.tensor([[0, 0], [x, y]]), box) is inside


def test_mask_threshold_moves_the_mask_and_never_the_point():
    maps = torch.rand(2, 50, 60, generator=torch.Generator().manual_seed(0))
    low, high = answer(maps, 0.1), answer(maps, 0.7)
    assert int(low.mask.sum()) > int(high.mask.sum())
    assert torch.equal(low.points, high.points)


def test_a_map_without_contrast_has_no_mask_and_says_that_every_pixel_ties():
    found = answer(torch.full((1, 12, 10), 0.5))
    assert not found.mask.any()
    assert len(found.points) == 120
    assert threshold(torch.zeros(5, 5), 0.4).sum() == 0


def test_empty_masks_overlap_by_nothing():
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    assert intersection_over_union(nothing, nothing) == 0.0


@pytest.mark.parametrize("kind", ["autoencoder", "pca"])
def test_reading_a_code_map_equals_decoding_it(kind):
    generator = torch.Generator().manual_seed(2)
    torch.manual_seed(2)
    if kind == "autoencoder":
        compressor = Autoencoder(*published_widths(512, 3)).eval().requires_grad_(False)
    else:
        directions = torch.linalg.qr(torch.randn(512, 3, generator=generator))[0].T.contiguous()
        compressor = PCA(0.05 * torch.randn(512, generator=generator), directions, torch.tensor(0.4))
    codes = torch.randn(3, 20, 30, generator=generator)
    codes[:, 5:] = 0  # no Gaussian there
    phrases, negatives = unit(torch.randn(4, 512, generator=generator)), unit(torch.randn(2, 512, generator=generator))
    embeddings = compressor.decode(codes.movedim(0, -1))
    readout = compressor.readout(torch.cat([phrases, negatives]))
    # float32 sums of 512 and of 257 terms; the relevancy spans (0, 1).
    expected = relevancy(embeddings, phrases, negatives)
    torch.testing.assert_close(relevancy_maps(codes, readout, 4), expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(readout(codes.reshape(3, -1).T), embeddings.reshape(600, 512) @ torch.cat([phrases, negatives]).T)


def test_latent_similarity_is_a_cosine():
    codes = torch.tensor([[2.0, 0, 0], [0, -3, 0]])
    found = latent_similarity(codes, torch.tensor([[1.0, 0, 0], [0, 5, 0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.5], [0.5, 0.0]]))


def test_all_pairs_of_masks_overlap_as_each_pair_alone():
    """Larger than the part that is counted at a time, with an empty mask on both sides."""
    generator = torch.Generator().manual_seed(0)
    found, truth = (torch.rand(count, 600, 500, generator=generator) < 0.3 for count in (4, 3))
    found[1], truth[2] = False, False
    expected = [[intersection_over_union(a, b) for b in truth] for a in found]
    assert pairwise_overlap(found, truth).tolist() == expected
