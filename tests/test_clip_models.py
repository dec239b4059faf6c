"""Text-image encoders that OpenCLIP publishes: prepared for as the library does, at random weights; what is missing is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import CLIP_CONFIG, small_clip

from features.clip import ClipEncoder
from features.clip_loading import default_weights, load_clip
from features.masks import Mask, cut_crops
from features.preprocessing import PreprocessConfig
from features.registry import text_encoder
from features.sam_clip import SamClip
from features.text import TextOptions
from query.relevancy import contrast
from workspace import InputError
from workspace.record_types import FeatureSettings


@pytest.fixture(scope="module")
def pe_core(tmp_path_factory):
    """PE-Core's smallest published model at its full size, with random weights in a file."""
    return _random_weights("PE-Core-T-16-384", tmp_path_factory)


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    """The smallest published MobileCLIP 2, a convolutional network, likewise."""
    return _random_weights("MobileCLIP2-S0", tmp_path_factory)


def _random_weights(name, factory):
    import open_clip

    torch.manual_seed(0)
    path = factory.mktemp("weights") / f"{name}.pt"
    torch.save(open_clip.create_model(name).state_dict(), path)
    return name, path


@pytest.mark.parametrize("model", ["pe_core", "mobile"])
def test_squares_are_prepared_and_embedded_as_by_the_library(model, request):
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    name, weights = request.getfixturevalue(model)
    encoder = ClipEncoder(name, str(weights))
    (tag,) = open_clip.list_pretrained_tags_by_model(name)
    published = open_clip.get_pretrained_cfg(name, tag)
    fields = {field: published[field] for field in ("mean", "std", "interpolation", "resize_mode")}
    transform = image_transform_v2(PreprocessCfg(size=encoder.image_size, **fields), is_train=False)
    network = open_clip.create_model(name, pretrained=str(weights)).eval()
    squares = [np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (40, 700)]
    resized = np.stack([encoder.resize(square) for square in squares])
    pixels = torch.stack([transform(Image.fromarray(square)) for square in squares])
    prepared = encoder._normalize(torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(prepared, pixels, atol=1e-6, rtol=0)  # the library divides in another order
    with torch.inference_mode():
        expected = network.encode_image(pixels, normalize=True)
        words = network.encode_text(open_clip.get_tokenizer(name)(["a red cup"]), normalize=True)
    # unit rows; float32 sums of another order through the whole network
    torch.testing.assert_close(encoder.embed_crops(torch.from_numpy(resized)), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.embed_text(["a red cup"]), words, atol=1e-4, rtol=0)
    assert encoder.width == expected.shape[1]


def test_crops_take_the_filter_that_is_asked_for(tmp_path):
    name, weights = small_clip(tmp_path)
    encoder = ClipEncoder(name, str(weights))
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    mask = [Mask(0, 0, np.ones((320, 320), bool))]
    own = cut_crops(stripes, mask, encoder.image_size, encoder.resize)
    assert own.shape == (1, 32, 32, 3)
    assert np.ptp(own[0, 4:-4, 4:-4].astype(int)) < 30  # ten stripes in a pixel: an antialiased filter makes them grey
    np.testing.assert_array_equal(own[0], encoder.resize(stripes[:-1, :-1].copy()))
    published = cut_crops(stripes, mask, encoder.image_size)
    assert np.ptp(published.astype(int)) > 100


def _settings(**flags):
    options = PreprocessConfig(Path("scene"), **flags)
    return SamClip().settings(options)


def test_weights_that_are_not_named_are_the_only_ones_published():
    assert default_weights("PE-Core-T-16-384") == "meta"
    assert default_weights("ViT-B-16") == "laion2b_s34b_b88k"
    with pytest.raises(InputError, match="Give --clip_pretrained a file or one of the weights of 'ViT-L-14': openai, "):
        _settings(clip_model="ViT-L-14")
    assert _settings(clip_model="MobileCLIP2-S0")["clip_pretrained"] == "dfndr2b"


def test_the_record_names_what_differs_from_clip():
    published = _settings()
    assert not {"crop_resize", "temperature", "negatives"} & set(published)
    made = _settings(clip_model="PE-Core-T-16-384", temperature=25.0, negatives=("thing", "background"))
    assert (made["crop_resize"], made["temperature"], made["negatives"]) == ("encoder", 25.0, ["thing", "background"])
    assert "crop_resize" not in _settings(clip_model="PE-Core-T-16-384", crop_resize="published")
    with pytest.raises(InputError, match="--temperature -1 is no number above 0"):
        _settings(temperature=-1.0)
    with pytest.raises(InputError, match="--negatives takes one phrase or more"):
        _settings(negatives=(" ",))


def test_a_query_takes_temperature_and_negatives_from_the_record(tmp_path):
    name, weights = small_clip(tmp_path)
    plain = FeatureSettings("sam_clip", clip_model=name, clip_pretrained=str(weights))
    assert text_encoder(plain, "cpu").temperature == 10
    own = FeatureSettings("sam_clip", clip_model=name, clip_pretrained=str(weights), temperature=40, negatives=["wall"])
    encoder = text_encoder(own, "cpu")
    assert (encoder.temperature, encoder.negatives) == (40, ("wall",))
    assert text_encoder(own, "cpu", TextOptions(temperature=3.0)).temperature == 3
    broken = FeatureSettings("sam_clip", clip_model=name, clip_pretrained=str(weights), temperature="hot")
    with pytest.raises(InputError, match="'hot' as temperature; expected a number above 0"):
        text_encoder(broken, "cpu")
    cosines = torch.tensor([[0.3, 0.2]])
    assert contrast(cosines, 1, 40.0).item() == pytest.approx(1 / (1 + np.exp(-4)))


def test_every_published_way_to_prepare_pictures_is_the_librarys(tmp_path, monkeypatch):
    import open_clip
    from open_clip import pretrained

    fields = ("mean", "std", "interpolation", "resize_mode")  # SigLIP, for example, has another of each
    tags = [tag for model in pretrained._PRETRAINED.values() for tag in model.values()]
    ways = {tuple(str(tag.get(field)) for field in fields): {f: tag[f] for f in fields if f in tag} for tag in tags}
    assert len(ways) >= 4
    name, weights = small_clip(tmp_path)
    square = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    for way in ways.values():
        monkeypatch.setattr(pretrained, "_PRETRAINED", {name: {"tag": {"file": str(weights), **way}}})
        _, _, transform = open_clip.create_model_and_transforms(name, pretrained="tag")
        for source in ("tag", str(weights)):  # a file is prepared for as the published weights
            encoder = ClipEncoder(name, source)
            pixels = encoder._normalize(torch.tensor(encoder.resize(square)[None]).permute(0, 3, 1, 2).float() / 255)[0]
            torch.testing.assert_close(pixels, transform(Image.fromarray(square)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("quick", [True, False])
def test_weights_run_with_the_activation_they_were_trained_with(quick, tmp_path, monkeypatch, recwarn):
    import open_clip
    from open_clip.transformer import QuickGELU

    name, weights = small_clip(tmp_path)
    published = {name: {"tag": {"file": str(weights), "quick_gelu": quick}}}  # ViT-B-16 has dfn2b with it, laion2b without
    monkeypatch.setattr("open_clip.pretrained._PRETRAINED", published)
    encoder = ClipEncoder(name, "tag")
    expected = open_clip.create_model(name, pretrained=str(weights), force_quick_gelu=quick).eval()
    assert any(isinstance(module, QuickGELU) for module in expected.modules()) == quick
    crop = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8))
    with torch.inference_mode():
        pixels = encoder._normalize(crop.permute(0, 3, 1, 2).float() / 255)
        torch.testing.assert_close(encoder.embed_crops(crop), expected.encode_image(pixels, normalize=True))
        tokens = open_clip.get_tokenizer(name)(["a red cup"])
        torch.testing.assert_close(encoder.embed_text(["a red cup"]), expected.encode_text(tokens, normalize=True))
    assert not [warning for warning in recwarn if "QuickGELU" in str(warning.message)]


def test_models_that_cannot_answer_are_refused_in_words(tmp_path, monkeypatch):
    folder = tmp_path / "vision"
    folder.mkdir()
    config = {"embed_dim": 32, "vision_cfg": CLIP_CONFIG["vision_cfg"]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    with pytest.raises(InputError, match="has no text tower"):
        load_clip(f"local-dir:{folder}", None, torch.device("cpu"))
    name, weights = small_clip(tmp_path)
    whole = json.loads((tmp_path / f"{name}.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": whole, "preprocess_cfg": {}}))
    with pytest.raises(InputError, match=r"vision has no weights: expected open_clip_model\.safetensors"):
        load_clip(f"local-dir:{folder}", None, torch.device("cpu"))  # OpenCLIP would run random numbers
    torch.save({"visual.proj": torch.zeros(3)}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match=r"The weights in .*vision cannot be used .*: tensors of other names or shapes\nCopy"):
        load_clip(f"local-dir:{folder}", "its own", torch.device("cpu"))
    shutil.copy(weights, folder / "open_clip_pytorch_model.bin")
    assert load_clip(f"local-dir:{folder}", "its own", torch.device("cpu"))
    with pytest.raises(InputError, match=r"brings its own weights; --clip_pretrained laion400m has no effect"):
        load_clip(f"local-dir:{folder}", "laion400m", torch.device("cpu"))
    (folder / "open_clip_config.json").write_text("[]")
    with pytest.raises(InputError, match="no configuration of an OpenCLIP model"):
        load_clip(f"local-dir:{folder}", None, torch.device("cpu"))
    monkeypatch.setattr("features.clip_loading.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'ViT-B-16-SigLIP2' needs the package transformers.*pip install transformers"):
        load_clip("ViT-B-16-SigLIP2", "webli", torch.device("cpu"))


def test_a_tokenizer_that_cannot_be_fetched_is_named(tmp_path, monkeypatch):
    import open_clip

    def refuse(name):
        raise OSError("We couldn't connect to the hub. Check your connection")

    name, weights = small_clip(tmp_path)
    monkeypatch.setattr(open_clip, "get_tokenizer", refuse)
    with pytest.raises(
        InputError, match=r"tokenizer 'small-clip' .* could not be fetched or read: We couldn't connect to the hub"
    ):
        ClipEncoder(name, str(weights))
