"""Costs of extractors: networks of random weights return fixed discs, and a short measurement is scaled to all prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import small_sam

from features.cost import Batch
from features.preprocessing import PreprocessConfig
from features.random_networks import CELLS, Discs, random_extractor
from features.sam import SamGenerator, SamSettings
from features.stock_sam import StockSam
from workspace import InputError


class Everything:
    """A network that calls all of a square picture one mask, as SAM 2 and EdgeTAM scale pictures."""

    def set_image(self, image):
        self.size = image.shape[:2]

    def masks(self, points):
        return torch.full((len(points), 3, 64, 64), 9.0), torch.full((len(points), 3), 0.3)

    def enlarge(self, logits):
        return torch.nn.functional.interpolate(logits, self.size, mode="bilinear", align_corners=False)[:, 0]


def discs(predictor):
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    settings = SamSettings(points_per_side=16, crop_n_layers=0, min_mask_region_area=0)
    return SamGenerator(Discs(predictor), settings).generate(image)


def test_every_network_returns_the_same_discs(monkeypatch):
    monkeypatch.setattr("features.random_networks.TransformersSam", Everything)
    for predictor in (StockSam(small_sam()), Everything()):
        found = discs(predictor)
        assert [len(found[level].masks) for level in ("s", "m", "l")] == [side**2 for side in CELLS]
        middle = found["l"].masks
        centers = sorted((m.left + m.pixels.shape[1] / 2, m.top + m.pixels.shape[0] / 2) for m in middle)
        expected = sorted(((x + 0.5) * 128 / 3, (y + 0.5) * 32) for x in range(3) for y in range(3))
        # a pixel of the low-resolution logits is 2 pixels of the picture
        np.testing.assert_allclose(centers, expected, atol=2)


def test_a_batch_of_prompts_is_scaled_to_the_preset():
    batch = Batch(picture=30.0, prompts=7.0, others={"nms": 0.5, "encoder": 10.0})
    published = batch.seconds(PreprocessConfig(source_path=Path()))
    assert published == {"segmenter": 5 * (30 + 16 * 7), "nms": 2.5, "encoder": 50.0}  # 5 crops of 1,024 prompts
    assert batch.seconds(PreprocessConfig(source_path=Path(), preset="fast"))["segmenter"] == 30 + 4 * 7


def test_what_has_no_random_network_is_refused():
    with pytest.raises(InputError, match="no network of random weights"):
        random_extractor(PreprocessConfig(source_path=Path(), features="own"), torch.device("cpu"))
    with pytest.raises(InputError, match="no model 'ViT-Nothing'"):
        random_extractor(
            PreprocessConfig(source_path=Path(), features="clip_dense", clip_model="ViT-Nothing"), torch.device("cpu")
        )
