"""SAM 2 and EdgeTAM of the transformers package at random weights, and the choices of --segmenter."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import small_clip

from features.preprocessing import PreprocessConfig, preprocess
from features.registry import open_store
from features.sam import SamSettings
from features.transformers_sam import load_transformers_sam
from workspace import InputError, SceneFolder

SIDE = 128


def _save_sam2(folder):
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2Processor,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=16, image_size=[SIDE, SIDE], blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[8, 4, 4, 2], global_attention_blocks=[3],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16], fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )  # fmt: skip
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32)
    torch.manual_seed(0)
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    Sam2Model(config).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})).save_pretrained(folder)
    return folder


def _save_edgetam(folder):
    """The published network, for smaller pictures."""
    from transformers import (
        EdgeTamConfig,
        EdgeTamModel,
        EdgeTamVisionConfig,
        Sam2ImageProcessor,
        Sam2Processor,
        TimmWrapperConfig,
    )

    torch.manual_seed(0)
    pyramid = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = TimmWrapperConfig(architecture="repvit_m1", model_args=pyramid)
    vision = EdgeTamVisionConfig(backbone_config=backbone, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]])
    config = EdgeTamConfig(vision_config=vision)
    config.prompt_encoder_config.image_size = SIDE
    EdgeTamModel(config).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def offline():
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_HUB_OFFLINE", "1")
    yield
    patch.undo()


needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None,
    reason="optional: pip install -r requirements-transformers.txt",
)


@needs_transformers
@pytest.mark.parametrize(("segmenter", "save"), [("sam2", _save_sam2), ("edgetam", _save_edgetam)])
def test_points_are_answered_as_by_the_library(segmenter, save, tmp_path):
    from transformers import AutoModelForMaskGeneration, AutoProcessor

    save(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    points = np.array([[3.5, 10.0], [80.25, 41.0]])
    predictor = load_transformers_sam(segmenter, str(tmp_path), "cpu")
    processor, model = AutoProcessor.from_pretrained(tmp_path), AutoModelForMaskGeneration.from_pretrained(tmp_path).eval()
    inputs = processor(images=image, input_points=[[[point.tolist()] for point in points]], return_tensors="pt")
    with torch.inference_mode():
        predictor.set_image(image)
        logits, ious = predictor.masks(points)
        answer = model(pixel_values=inputs["pixel_values"], input_points=inputs["input_points"], multimask_output=True)
        assert logits.shape[:2] == (2, 3)
        torch.testing.assert_close(logits, answer.pred_masks[0])
        torch.testing.assert_close(ious, answer.iou_scores[0])
        (masks,) = processor.post_process_masks(answer.pred_masks, inputs["original_sizes"])
        assert torch.equal(predictor.enlarge(logits.flatten(0, 1)[:, None]).unflatten(0, (2, 3)) > 0, masks)


@pytest.fixture
def scene(tmp_path):
    scene = SceneFolder(tmp_path / "scene")
    scene.images.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 72), Image.Resampling.BICUBIC).save(scene.images / "one.png")
    return scene


def _flags(tmp_path):
    name, weights = small_clip(tmp_path)
    return {"features": "sam_clip", "clip_model": name, "clip_pretrained": str(weights), "device": "cpu"}


@needs_transformers
def test_photographs_become_segments_by_sam2(scene, tmp_path, monkeypatch):
    anything = SamSettings(points_per_side=4, pred_iou_thresh=-9.0, stability_score_thresh=0.0, crop_n_layers=1)  # random weights
    monkeypatch.setattr("features.sam_clip.PRESETS", {"published": (anything, 1)})
    weights = _save_sam2(tmp_path / "sam2")
    preprocess(PreprocessConfig(scene.root, segmenter="sam2", segmenter_weights=str(weights), **_flags(tmp_path)))
    store = open_store(scene)
    segments = store.read("one")
    assert segments.maps.shape == (4, 72, 96)
    assert all((level >= 0).any() for level in segments.maps)
    assert (store.settings.text("segmenter"), store.settings.text("segmenter_weights")) == ("sam2", str(weights))
    assert "sam_model_type" not in store.settings.recorded


@needs_transformers
def test_weights_that_do_not_fit_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = _save_sam2(tmp_path / "sam2")
    with pytest.raises(InputError, match="holds a network of type sam2, not edgetam"):
        load_transformers_sam("edgetam", str(folder), "cpu")
    state = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in state.items() if "iou_token" not in name}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(InputError, match=r"lacks 1 of the weights of sam2, such as mask_decoder.iou_token.weight"):
        load_transformers_sam("sam2", str(folder), "cpu")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="is not a whole folder of sam2 weights"):
        load_transformers_sam("sam2", str(folder), "cpu")
    with pytest.raises(InputError, match=r"(?s)could not be fetched.*hf download facebook/sam2.1-hiera-tiny"):
        load_transformers_sam("sam2", None, "cpu")


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("features.transformers_sam.find_spec", lambda name: None)
    with pytest.raises(InputError, match="--segmenter sam2 needs the package transformers.*-r requirements-transformers.txt"):
        load_transformers_sam("sam2", None, "cpu")
    monkeypatch.setattr("features.transformers_sam.sys.version_info", (3, 10, 4))
    with pytest.raises(InputError, match="--segmenter edgetam needs Python 3.11 or newer"):
        load_transformers_sam("edgetam", None, "cpu")


def test_the_region_graph_with_clip_needs_no_sam(scene, tmp_path):
    preprocess(PreprocessConfig(scene.root, segmenter="graph", **_flags(tmp_path)))
    store = open_store(scene)
    assert store.settings.text("segmenter") == "graph"
    assert store.embeddings("one").shape[1] == 32
    assert (store.read("one").maps >= 0).all()


def test_combinations_that_mean_nothing_are_refused(scene):
    with pytest.raises(
        InputError, match="--features mini does not go with --segmenter sam2. These do: sam_clip: sam, sam2, .*mini: graph"
    ):
        preprocess(PreprocessConfig(scene.root, features="mini", segmenter="sam2", device="cpu"))
    with pytest.raises(InputError, match="--segmenter_weights is for --segmenter sam2 and edgetam, not graph"):
        preprocess(PreprocessConfig(scene.root, segmenter="graph", segmenter_weights="here", device="cpu"))
    with pytest.raises(InputError, match="--sam_model_type is for --segmenter sam, not graph. Leave it out"):
        preprocess(PreprocessConfig(scene.root, segmenter="graph", sam_model_type="vit_b", device="cpu"))
