"""The four mask lists against the package's own generator, and what happens without proper weights."""

import cv2
import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator
from small_networks import small_sam

from features.masks import cut_mask, segment_map
from features.sam import SamGenerator, SamSettings
from features.stock_sam import StockSam, load_sam
from workspace import InputError


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    return cv2.resize(noise, (251, 203), interpolation=cv2.INTER_CUBIC)


SETTINGS = {
    "points_per_side": 8,
    "points_per_batch": 24,  # does not divide 64
    "pred_iou_thresh": 0.7,
    "stability_score_thresh": 0.5,
    "min_mask_region_area": 20,
}


@pytest.mark.parametrize("layers", [0, 1])
def test_default_list_is_the_packages_own(image, layers):
    model = small_sam()
    stock = SamAutomaticMaskGenerator(model, crop_n_layers=layers, **SETTINGS).generate(image)
    masks, ious, stabilities = SamGenerator(StockSam(model), SamSettings(crop_n_layers=layers, **SETTINGS)).generate(image)[
        "default"
    ]
    assert len(stock) > 40
    assert len({tuple(found["crop_box"]) for found in stock}) == (5 if layers else 1)
    assert len(masks) == len(stock)
    for found, mask in zip(stock, masks, strict=True):
        np.testing.assert_array_equal(segment_map([mask], *image.shape[:2]) == 0, found["segmentation"])
        assert found["bbox"] == [mask.left, mask.top, mask.pixels.shape[1] - 1, mask.pixels.shape[0] - 1]
    # the same operations on the same numbers: equal to the last bit
    np.testing.assert_array_equal(ious, [found["predicted_iou"] for found in stock])
    np.testing.assert_array_equal(stabilities, [found["stability_score"] for found in stock])


def test_levels_are_the_decoders_three_masks(image):
    """With the decoder's other two masks disqualified, the pooled list is the level's list."""
    model = small_sam()
    settings = SamSettings(crop_n_layers=1, **SETTINGS)
    lists = SamGenerator(StockSam(model), settings).generate(image)
    full = model.mask_decoder.forward
    for part, level in enumerate("sml"):

        def alone(part=part, **inputs):
            logits, ious = full(**inputs)
            return logits, torch.where(torch.arange(3) == part, ious, -1.0)

        model.mask_decoder.forward = alone
        masks, ious, _ = SamGenerator(StockSam(model), settings).generate(image)["default"]
        assert len(masks) > 10
        np.testing.assert_array_equal(ious, lists[level].predicted_ious)
        for ours, expected in zip(lists[level].masks, masks, strict=True):
            np.testing.assert_array_equal(ours.pixels, expected.pixels)


def test_an_image_without_masks_gives_empty_lists(image):
    lists = SamGenerator(StockSam(small_sam()), SamSettings(**{**SETTINGS, "pred_iou_thresh": 2.0})).generate(image)
    assert [len(lists[level].masks) for level in ("default", "s", "m", "l")] == [0, 0, 0, 0]


def test_masks_are_cut_to_their_boxes(image):
    for mask in SamGenerator(StockSam(small_sam()), SamSettings(**SETTINGS)).generate(image)["l"].masks:
        again = cut_mask(mask.pixels)
        assert again.pixels.shape == mask.pixels.shape


@pytest.fixture
def small_type(monkeypatch):
    monkeypatch.setattr("segment_anything.sam_model_registry", dict.fromkeys(("vit_h", "vit_l", "vit_b"), small_sam))


def test_weights_are_loaded_whole_or_refused(tmp_path, small_type):
    path = tmp_path / "sam.pth"
    with pytest.raises(
        InputError, match=r"(?s)No file .*sam.pth; expected the weights of SAM vit_h.*curl -L -o .*sam_vit_h_4b8939.pth"
    ):
        load_sam(path, "vit_h", "cpu")
    torch.save(small_sam(3).state_dict(), path)
    loaded = load_sam(path, "vit_h", "cpu")
    assert torch.equal(loaded.mask_decoder.iou_token.weight, small_sam(3).mask_decoder.iou_token.weight)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    path.write_bytes(path.read_bytes()[:20000])
    (tmp_path / "notes.py").write_text("mine")
    with pytest.raises(
        InputError, match=r"notes.py .*(?s:.*)curl -L -o (\S*sam_vit_h_4b8939.pth) https\S*\n.*--sam_ckpt_path \1"
    ) as error:
        load_sam(tmp_path / "notes.py", "vit_h", "cpu")
    assert "-o " + str(tmp_path / "notes.py") not in str(error.value)
    with pytest.raises(InputError, match=r"\(0.0 MB\) was cut short or damaged; expected the weights of SAM vit_h.*\n.*curl"):
        load_sam(path, "vit_h", "cpu")
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="does not hold SAM vit_b weights"):
        load_sam(path, "vit_b", "cpu")


def test_weights_of_another_type_name_the_option(tmp_path, small_type):
    path = tmp_path / "sam.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(1024, 3, 16, 16)}, path)
    with pytest.raises(InputError, match="holds SAM vit_l, not vit_h; add --sam_model_type vit_l"):
        load_sam(path, "vit_h", "cpu")


def test_weights_are_never_executed(tmp_path, small_type):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    path = tmp_path / "sam.pth"
    torch.save({"x": Harmful()}, path)
    with pytest.raises(InputError, match="not safe to load"):
        load_sam(path, "vit_h", "cpu")
    assert not (tmp_path / "executed").exists()
