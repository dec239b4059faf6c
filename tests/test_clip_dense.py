"""Patch tokens of OpenCLIP models: equal to the library's modules with an attention that sees one patch, refused where pooled."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_networks import small_clip

from features.clip import ClipEncoder
from features.preprocessing import PreprocessConfig, preprocess
from features.random_networks import random_clip
from features.registry import open_store, text_encoder
from workspace import InputError, SceneFolder


def pictures(encoder):
    return torch.rand(2, 3, encoder.image_size, encoder.image_size, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_tokens_of_a_class_token_model_are_those_of_a_last_block_whose_patches_see_themselves(tmp_path):
    name, weights = small_clip(tmp_path)
    encoder = ClipEncoder(name, str(weights))
    images, visual = pictures(encoder), encoder._model.visual
    *blocks, last = visual.transformer.resblocks
    x = visual.conv1(encoder._normalize(images)).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(2, 1, -1), x], 1) + visual.positional_embedding
    x = visual.ln_pre(x)
    for block in blocks:
        x = block(x)
    alone = torch.full((x.shape[1], x.shape[1]), -torch.inf).fill_diagonal_(0)
    expected = F.normalize(visual.ln_post(last(x, attn_mask=alone))[:, 1:] @ visual.proj, dim=-1)
    # float32 sums of another order
    torch.testing.assert_close(encoder.embed_windows(images).flatten(1, 2), expected, atol=1e-5, rtol=0)
    # the library's own forward pass, up to the class token, has the same blocks before the last
    everything = last(x)
    pooled = F.normalize(visual.ln_post(everything)[:, 0] @ visual.proj, dim=-1)
    torch.testing.assert_close(F.normalize(visual(encoder._normalize(images)), dim=-1), pooled, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_tokens_of_an_attention_pooled_model_are_those_of_a_pool_that_sees_one_patch():
    torch.manual_seed(0)
    encoder = random_clip("PE-Core-T-16-384", torch.device("cpu"))
    images, trunk = pictures(encoder)[:1], encoder._model.visual.trunk
    found = encoder.embed_windows(images)
    assert found.shape == (1, 24, 24, encoder.width)
    tokens = trunk.forward_features(encoder._normalize(images))
    for row, column in ((0, 0), (3, 17), (23, 23)):
        only = torch.full((1, 1, 1, tokens.shape[1] - trunk.num_prefix_tokens), -torch.inf)
        only[..., row * 24 + column] = 0
        pooled = trunk.attn_pool(tokens[:, trunk.num_prefix_tokens :], attn_mask=only)
        expected = F.normalize(encoder._model.visual.head(trunk.head(trunk.fc_norm(pooled))), dim=-1)
        torch.testing.assert_close(found[:, row, column], expected, atol=1e-5, rtol=0)


def test_a_pooled_model_is_refused_with_what_to_do():
    encoder = random_clip("MobileCLIP2-S0", torch.device("cpu"))
    with pytest.raises(InputError, match=r"no patch tokens .*SigLIP.*--features sam_clip --clip_model MobileCLIP2-S0"):
        encoder.check_patches("MobileCLIP2-S0")


def test_a_scene_from_photographs_to_text(tmp_path):
    name, weights = small_clip(tmp_path)
    scene = SceneFolder(tmp_path / "scene")
    scene.images.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 72), Image.Resampling.BICUBIC).save(scene.images / "one.png")
    options = {"features": "clip_dense", "clip_model": name, "clip_pretrained": str(weights), "device": "cpu"}
    preprocess(PreprocessConfig(scene.root, temperature=25.0, **options))
    store = open_store(scene, "clip_dense")
    tokens = store.embeddings("one")
    # 32 pixels of the encoder, twice that for the shorter side, patches of 8
    assert tokens.shape == (8, 11, 32)
    # each token is unit before the mean over windows, which is at most as long
    assert (np.linalg.norm(tokens.astype(np.float32), axis=-1) <= 1.001).all()
    text = text_encoder(store.settings, "cpu")
    assert text.temperature == 25 and text.embed(["a cup"]).shape == (1, 32)
    with pytest.raises(InputError, match="--clip_scale 0"):
        preprocess(PreprocessConfig(scene.root, clip_scale=0, **options))
