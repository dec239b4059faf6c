"""Encoders of the real classes at random weights: CLIP, DINOv2, Talk2DINO, and text for every extractor."""

from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from small_networks import small_clip, small_dino

from evaluation.stage import QueryConfig
from features import mini
from features.clip import ClipEncoder
from features.dense import area_grid, patch_grid, resize_to_grid, short_side_grid
from features.dino import DinoEncoder
from features.registry import text_encoder
from features.talk2dino import Talk2DinoText, load_head
from features.text import TextOptions
from query.render_language import LanguageRenderConfig
from workspace import InputError
from workspace.record_types import FeatureSettings


def test_clip_embeddings_are_those_of_open_clip(tmp_path):
    import open_clip
    from PIL import Image

    name, weights = small_clip(tmp_path)
    encoder = ClipEncoder(name, str(weights), "cpu", batch=2)
    assert (encoder.width, encoder.image_size, encoder.patch_size) == (32, 32, 8)
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=str(weights))
    model.eval()
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([preprocess(Image.fromarray(crop)) for crop in crops]), normalize=True)
        tokens = open_clip.get_tokenizer(name)(["a red cup", "table"])
        expected_text = model.encode_text(tokens, normalize=True)
    # batches of two instead of five change the order of float32 sums
    torch.testing.assert_close(encoder.embed_crops(torch.from_numpy(crops)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.embed_text(["a red cup", "table"]), expected_text, atol=1e-5, rtol=0)
    assert encoder.embed_crops(torch.from_numpy(crops[:0])).shape == (0, 32)


def test_clip_says_what_is_wrong_with_names_and_files(tmp_path):
    name, weights = small_clip(tmp_path)
    with pytest.raises(InputError, match=r"no model 'ViT-B16'. Nearest names: ViT-B-16"):
        ClipEncoder("ViT-B16", "openai")
    with pytest.raises(InputError, match=r"no weights 'laion'.*laion2b_s34b_b88k"):
        ClipEncoder("ViT-B-16", "laion")
    with pytest.raises(
        InputError, match=r"could not be fetched(?s:.*)open_clip.create_model\('ViT-B-16', pretrained='laion2b_s34"
    ):
        ClipEncoder("ViT-B-16", "laion2b_s34b_b88k")
    damaged = tmp_path / "cut.pt"
    damaged.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(
        InputError, match=r"cut.pt \(0.0 MB\) is not a whole weight file of OpenCLIP model 'small-clip'"
    ) as raised:
        ClipEncoder(name, str(damaged))
    assert "weights_only" not in str(raised.value)


@pytest.fixture
def dino(tmp_path, monkeypatch):
    name, weights = small_dino(tmp_path, monkeypatch)
    return DinoEncoder(name, weights)


def test_tokens_equal_timms_own_on_an_upright_grid(dino):
    import timm
    from timm.data import resolve_model_data_config

    image = torch.rand(2, 3, 5 * 14, 8 * 14, generator=torch.Generator().manual_seed(1))
    network = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, pretrained=False, dynamic_img_size=True).eval()
    network.load_state_dict(dino._network.state_dict())
    statistics = resolve_model_data_config(network)
    mean, std = (torch.tensor(statistics[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        expected = network.forward_features((image - mean) / std)
    tokens = dino.embed_patches(image)
    assert tokens.shape == (2, 5, 8, 384)
    assert network.num_prefix_tokens == 5  # the class token and four registers stay out
    torch.testing.assert_close(tokens.flatten(1, 2), expected[:, 5:])


def test_dinov3_gives_tokens_as_well(tmp_path, monkeypatch):
    import timm

    name, create = "vit_small_patch16_dinov3", timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: create(*args, depth=2, **options))
    torch.save(timm.create_model(name, num_classes=0, pretrained=False).state_dict(), tmp_path / "dino3.pth")
    encoder = DinoEncoder(name, tmp_path / "dino3.pth")
    assert encoder.embed_patches(torch.rand(1, 3, 32, 64)).shape == (1, 2, 4, encoder.width)


def test_dino_says_what_is_wrong(tmp_path, dino):
    with pytest.raises(InputError, match="no model 'dinov2'. Fitting ones: .*vit_base_patch14_reg4_dinov2"):
        DinoEncoder("dinov2")
    with pytest.raises(InputError, match=r"could not be fetched(?s:.*timm.create_model.*)--dino_ckpt"):
        DinoEncoder("vit_base_patch14_reg4_dinov2.lvd142m")
    with pytest.raises(InputError, match="gives no patch tokens"):
        DinoEncoder("convnext_tiny.dinov3_lvd1689m")
    (tmp_path / "bad.pth").write_bytes(b"PK not weights")
    with pytest.raises(InputError, match=r"bad.pth is not a whole weight file"):
        DinoEncoder("vit_small_patch14_reg4_dinov2", tmp_path / "bad.pth")


def test_grids_keep_the_aspect():
    assert area_grid(1080, 1440, 518, 14) == (32, 43)  # about the 37 x 37 of the square
    assert area_grid(100, 100, 518, 14) == (37, 37)
    assert area_grid(10, 4000, 518, 14)[0] == 2
    assert short_side_grid(480, 640, 480, 8) == (60, 80)
    assert short_side_grid(640, 480, 480, 8) == (80, 60)


def test_windows_put_every_patch_in_its_place():
    """An encoder that sees only its own patch gives the same grid in one pass and in windows."""
    image = np.random.default_rng(0).integers(0, 256, (44, 61, 3), dtype=np.uint8)

    def encode(images):
        return images.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2)).permute(0, 2, 3, 1)

    pixels = resize_to_grid(image, (11, 15), 4)
    assert pixels.shape == (1, 3, 44, 60)
    whole = patch_grid(encode, pixels, 4, (11, 15))
    assert whole.shape == (11, 15, 3)
    for window in ((5, 4), (1, 1), (20, 6), (11, 14)):
        # the mean of equal numbers, rounded once in float32 before float16
        np.testing.assert_allclose(patch_grid(encode, pixels, 4, window, batch=3), whole, atol=1e-3)


@pytest.fixture
def bundled():
    if not mini.WEIGHTS.is_file():
        pytest.skip("the bundled weights are not in this checkout")
    return ClipEncoder(mini.MODEL)


def test_bundled_tokens_live_in_the_space_of_the_embeddings(bundled):
    """Pooling and projection are linear, so an embedding lies in the direction of its tokens' mean before they are unit."""
    side = bundled.image_size
    crop = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    tokens = bundled.embed_patches(torch.from_numpy(crop).permute(0, 3, 1, 2) / 255)
    assert tokens.shape == (1, side // bundled.patch_size, side // bundled.patch_size, bundled.width)
    torch.testing.assert_close(tokens.norm(dim=-1), torch.ones(tokens.shape[:3]))
    mean = torch.nn.functional.normalize(tokens.mean((1, 2)), dim=-1)
    assert (mean * bundled.embed_crops(torch.from_numpy(crop))).sum() > 0.9  # unit tokens weigh a little differently


def test_half_precision_as_on_a_gpu_gives_the_same(bundled):
    import open_clip

    images = torch.rand(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    crops = (images[:, :, :, :48].repeat(1, 1, 2, 2)[:, :, :64, :64] * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    expected = [bundled.embed_patches(images), bundled.embed_crops(crops), bundled.embed_text(["a red cup"])]
    bundled._model = open_clip.create_model(mini.MODEL, pretrained=str(mini.WEIGHTS), precision="fp16").eval()
    bundled._dtype = torch.float16
    for found, exact in zip(
        [bundled.embed_patches(images), bundled.embed_crops(crops), bundled.embed_text(["a red cup"])], expected, strict=True
    ):
        # 11 bits of mantissa through four blocks; rows are unit
        torch.testing.assert_close(found, exact, atol=5e-3, rtol=0)


def _head_file(path, width=768, text=512, **changes):
    generator = torch.Generator().manual_seed(0)
    state = {
        "linear_layer.weight": torch.randn(width, text, generator=generator),
        "linear_layer.bias": torch.randn(width, generator=generator),
        "hidden_layers.0.weight": torch.randn(width, width, generator=generator),
        "hidden_layers.0.bias": torch.randn(width, generator=generator),
    }
    torch.save({**state, **changes}, path)
    return {name: value.double() for name, value in state.items()}


@pytest.mark.parametrize("width", [768, 1024])
def test_talk2dino_head_is_its_formula(tmp_path, width):
    state = _head_file(tmp_path / "head.pth", width)
    text = torch.randn(3, 512, generator=torch.Generator().manual_seed(1)) * 0.05
    inner = torch.tanh(text.double() @ state["linear_layer.weight"].T + state["linear_layer.bias"])
    expected = inner @ state["hidden_layers.0.weight"].T + state["hidden_layers.0.bias"]
    # float32 sums of 1024 products of order one
    torch.testing.assert_close(load_head(tmp_path / "head.pth")(text).double(), expected, atol=1e-3, rtol=0)


def test_older_talk2dino_heads_number_their_second_layer(tmp_path):
    _head_file(tmp_path / "head.pth")
    state = torch.load(tmp_path / "head.pth", weights_only=True)
    torch.save({name.replace("hidden_layers.0", "linear_layer2"): value for name, value in state.items()}, tmp_path / "old.pth")
    text = torch.randn(3, 512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(load_head(tmp_path / "old.pth")(text), load_head(tmp_path / "head.pth")(text))


def test_talk2dino_head_is_checked(tmp_path):
    with pytest.raises(InputError, match="--talk2dino_ckpt"):
        load_head(None)
    with pytest.raises(InputError, match="No file"):
        load_head(tmp_path / "absent.pth")
    _head_file(tmp_path / "wide.pth", 700)
    with pytest.raises(InputError, match="width 768 or 1024"):
        load_head(tmp_path / "wide.pth")
    _head_file(tmp_path / "more.pth", **{"hidden_layers.1.weight": torch.zeros(2)})
    with pytest.raises(InputError, match="is not a Talk2DINO head"):
        load_head(tmp_path / "more.pth")
    _head_file(tmp_path / "nan.pth", **{"linear_layer.bias": torch.full((768,), torch.nan)})
    with pytest.raises(InputError, match="nan.pth holds weights that are not finite"):
        load_head(tmp_path / "nan.pth")
    _head_file(tmp_path / "scalar.pth", **{"linear_layer.bias": torch.tensor(1.0)})
    with pytest.raises(InputError, match="is not a Talk2DINO head"):
        load_head(tmp_path / "scalar.pth")
    _head_file(tmp_path / "annotated.pth", epoch=7)
    assert load_head(tmp_path / "annotated.pth").linear_layer.out_features == 768
    (tmp_path / "cut.pth").write_bytes((tmp_path / "wide.pth").read_bytes()[:1000])
    with pytest.raises(
        InputError, match=r"cut.pth \(0.0 MB\) was cut short or damaged; expected a Talk2DINO head.*Download it again"
    ):
        load_head(tmp_path / "cut.pth")


def test_dino_text_averages_the_prompts_and_goes_through_the_head(tmp_path, monkeypatch):
    import open_clip

    name, weights = small_clip(tmp_path)
    monkeypatch.setattr("features.talk2dino.TEXT_MODEL", name)
    monkeypatch.setattr("features.talk2dino.TEXT_WEIGHTS", str(weights))
    monkeypatch.setattr("features.talk2dino.TEXT_WIDTH", 32)
    _head_file(tmp_path / "head.pth", text=32)
    encoder = text_encoder(FeatureSettings("dino"), "cpu", TextOptions(talk2dino_ckpt=tmp_path / "head.pth"))
    assert isinstance(encoder, Talk2DinoText)
    assert encoder.negatives == ("object", "things", "stuff", "texture")
    clip = ClipEncoder(name, str(weights))
    published = (
        "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.",
        "art of the {}.", "a photo of the small {}.",
    )  # fmt: skip
    full = [template("mug") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    options = TextOptions(talk2dino_ckpt=tmp_path / "head.pth", talk2dino_templates=80)
    for found, prompts in (
        (encoder.embed(["cup", "mug"]), [template.format("mug") for template in published]),
        (text_encoder(FeatureSettings("dino"), "cpu", options).embed(["cup", "mug"]), full),
    ):
        expected = load_head(tmp_path / "head.pth")(clip.embed_text(prompts, normalize=False).mean(0)[None])
        assert found.shape == (2, encoder.width)
        torch.testing.assert_close(found[1:], torch.nn.functional.normalize(expected, dim=-1))


def test_text_of_segments_is_the_plain_phrase(tmp_path):
    name, weights = small_clip(tmp_path)
    config = FeatureSettings("sam_clip", clip_model=name, clip_pretrained=str(weights))
    encoder = text_encoder(config, "cpu")
    torch.testing.assert_close(encoder.embed(["red mug"]), ClipEncoder(name, str(weights)).embed_text(["red mug"]))
    assert encoder.negatives == ("object", "things", "stuff", "texture")
    assert encoder.width == 32


def test_clip_weights_that_are_elsewhere_now_can_be_named_when_asking(tmp_path, monkeypatch):
    name, weights = small_clip(tmp_path)
    made = FeatureSettings("sam_clip", clip_model=name, clip_pretrained=str(tmp_path / "gone.pt"))
    with pytest.raises(InputError, match=r"Give --clip_pretrained a file"):
        text_encoder(made, "cpu")
    assert text_encoder(made, "cpu", TextOptions(clip_pretrained=str(weights))).width == 32
    monkeypatch.setattr("features.talk2dino.TEXT_MODEL", name)
    monkeypatch.setattr("features.talk2dino.TEXT_WIDTH", 32)
    _head_file(tmp_path / "head.pth", text=32)
    options = TextOptions(talk2dino_ckpt=tmp_path / "head.pth", clip_pretrained=str(weights))
    assert text_encoder(FeatureSettings("dino"), "cpu", options).width == 768
    for config in (QueryConfig, LanguageRenderConfig):
        assert tyro.cli(config, args=["-m", "model", "--clip_pretrained", "here.pt"]).clip_pretrained == "here.pt"


def test_features_of_an_older_bundled_encoder_are_refused():
    with pytest.raises(InputError, match=r"bundled weights 0123, .*--features mini_dense --overwrite"):
        text_encoder(FeatureSettings("mini_dense", mini_weights="0123"), "cpu")


@pytest.mark.parametrize(
    ("features", "options", "expected"),
    [
        ("mini", {"talk2dino_ckpt": Path("nowhere.pth")}, "--talk2dino_ckpt nowhere.pth does not apply.*mini.*is for dino"),
        ("mini_dense", {"clip_pretrained": "a.pt"}, "--clip_pretrained a.pt does not apply.*for sam_clip, dino, own"),
        ("sam_clip", {"talk2dino_templates": 80}, "--talk2dino_templates 80 does not apply"),
    ],
)
def test_options_of_other_text_encoders_are_refused(features, options, expected):
    with pytest.raises(InputError, match=expected):
        text_encoder(FeatureSettings(features), "cpu", TextOptions(**options))
