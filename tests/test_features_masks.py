"""Mask suppression, segment maps and crops against the published functions' outputs, and SAM's clean-up against SAM's."""

import numpy as np
import pytest
import torch
from segment_anything.utils.amg import remove_small_regions as stock_remove

from features.mask_nms import intersections, mask_nms, thinned
from features.masks import Mask, cut_crops, cut_mask, map_masks, segment_map
from features.segment_store import LEVELS
from features.small_regions import remove_small_regions


@pytest.mark.parametrize("case", range(4))
def test_suppression_equals_the_published_function(shared, case):
    golden = np.load(shared / "golden" / "mask_nms.npz")
    frames = np.unpackbits(golden[f"masks{case}"], axis=-1)[..., : golden[f"shape{case}"][2]].astype(bool)
    kept = mask_nms([cut_mask(frame) for frame in frames], golden[f"scores{case}"])
    np.testing.assert_array_equal(kept, golden[f"keep{case}"])


def test_maps_and_crops_equal_the_published_functions(shared):
    golden = np.load(shared / "golden" / "segment_maps.npz")
    image = golden["image_rgb"]
    offset, stacked = 0, []
    for level in LEVELS:
        masks = [cut_mask(frame) for frame in golden[f"{level}_masks"]]
        kept = [masks[i] for i in np.sort(mask_nms(masks, golden[f"{level}_iou"] * golden[f"{level}_stab"]))]
        indices = segment_map(kept, *image.shape[:2])
        np.testing.assert_array_equal(indices, golden[f"out_{level}_seg"])
        crops = torch.from_numpy(cut_crops(image, kept, 224)).permute(0, 3, 1, 2) / 255
        pooled = torch.nn.functional.adaptive_avg_pool2d(crops, 14).numpy()
        # a resize may round each 8-bit value by one; what is stored is float32
        np.testing.assert_allclose(pooled, golden[f"out_{level}_crops_mean14"], atol=1 / 255)
        stacked.append(np.where(indices >= 0, indices + offset, -1))
        offset += len(kept)
    np.testing.assert_array_equal(np.stack(stacked), golden["out_s"])


def test_intersections_count_pixels_in_any_block(monkeypatch):
    generator = np.random.default_rng(0)
    frames = generator.random((12, 37, 53)) < np.linspace(0.02, 0.98, 12)[:, None, None]
    frames[3] = False
    frames[3, 36, 52] = True  # one pixel, in the last corner
    masks = [cut_mask(frame) for frame in frames]
    flat = frames.reshape(12, -1).astype(np.int64)
    np.testing.assert_array_equal(intersections(masks), flat @ flat.T)
    monkeypatch.setattr("features.mask_nms._BLOCK", 4 * 12 * 7)  # seven runs at a time
    np.testing.assert_array_equal(intersections(masks), flat @ flat.T)


def _square(left, top, side):
    return Mask(left, top, np.ones((side, side), bool))


def test_three_best_survive_when_no_score_is_high_enough():
    masks = [_square(30 * i, 0, 20) for i in range(5)]
    np.testing.assert_array_equal(mask_nms(masks, np.array([0.1, 0.5, 0.3, 0.2, 0.4])), [1, 4, 2])
    np.testing.assert_array_equal(mask_nms(masks[:2], np.array([0.1, 0.5])), [1, 0])
    assert len(mask_nms([], np.zeros(0))) == 0


def test_duplicates_and_inner_masks_go():
    whole, twin, apart = _square(0, 0, 20), _square(0, 0, 19), _square(50, 0, 20)  # IoU of the first two 0.90
    np.testing.assert_array_equal(mask_nms([whole, twin, apart], np.array([0.8, 0.9, 0.85])), [1, 2])
    inner = _square(4, 4, 10)  # all of it in the whole, a quarter of the whole: 1 - 0.25 > 0.5
    np.testing.assert_array_equal(mask_nms([whole, inner], np.array([0.9, 0.8])), [0])
    np.testing.assert_array_equal(mask_nms([whole, inner, apart], np.array([0.8, 0.9, 0.85])), [2, 0])


def test_thinned_masks_are_the_frame_at_every_second_pixel():
    generator = np.random.default_rng(0)
    for left, top in ((0, 0), (3, 4), (6, 5)):
        frame = np.zeros((30, 40), bool)
        frame[top : top + 9, left : left + 12] = generator.random((9, 12)) < 0.6
        small = thinned(cut_mask(frame), 2)
        np.testing.assert_array_equal(segment_map([small], 15, 20) == 0, frame[::2, ::2])
    assert thinned(Mask(3, 3, np.ones((1, 1), bool)), 2).area == 1  # between the kept pixels


def test_masks_of_a_map_give_the_map():
    generator = np.random.default_rng(0)
    indices = np.kron(generator.permutation(12).reshape(3, 4), np.ones((5, 6))).astype(np.int32) - 1
    masks = map_masks(indices)
    np.testing.assert_array_equal(segment_map(masks, *indices.shape), indices)
    assert all(mask.area == 30 for mask in masks)
    with pytest.raises(ValueError, match="Segment 3"):
        map_masks(np.where(indices == 3, -1, indices))
    assert map_masks(np.full((4, 4), -1, np.int32)) == []


def test_a_segment_of_one_pixel_still_has_a_crop():
    image = np.full((10, 10, 3), 200, np.uint8)
    crops = cut_crops(image, [Mask(9, 0, np.ones((1, 1), bool)), Mask(2, 3, np.ones((1, 5), bool))], 8)
    assert (crops[0] == 200).all()
    assert (crops[1].max(axis=(1, 2)) > 0).any()


def test_clean_up_equals_sams_whatever_touches_the_border():
    generator = np.random.default_rng(1)
    seen = set()
    for _ in range(400):
        height, width = generator.integers(12, 60, 2).tolist()
        frame = np.zeros((height, width), bool)
        y0 = 0 if generator.random() < 0.5 else int(generator.integers(0, height // 2))
        x0 = 0 if generator.random() < 0.5 else int(generator.integers(0, width // 2))
        y1 = height if generator.random() < 0.6 else int(generator.integers(y0 + 3, height + 1))
        x1 = width if generator.random() < 0.6 else int(generator.integers(x0 + 3, width + 1))
        coarse = generator.random((-(-(y1 - y0) // 3), -(-(x1 - x0) // 3))) < generator.choice([0.35, 0.7, 0.9])
        frame[y0:y1, x0:x1] = np.kron(coarse, np.ones((3, 3), bool))[: y1 - y0, : x1 - x0]
        mask = cut_mask(frame)
        if mask is None:
            continue
        expected, holes = stock_remove(frame, 30, mode="holes")
        expected, islands = stock_remove(expected, 30, mode="islands")
        cleaned, changed = remove_small_regions(mask, height, width, 30)
        assert changed == (holes or islands)
        np.testing.assert_array_equal(segment_map([cleaned], height, width) == 0, expected)
        sides = (mask.left, mask.top, width - mask.left - mask.pixels.shape[1], height - mask.top - mask.pixels.shape[0])
        seen.add(tuple(side == 0 for side in sides))
    assert len(seen) == 16  # every combination of sides at the frame's border was met
