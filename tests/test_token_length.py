"""Patch tokens of DINOv2 have norms around 45, those of other encoders 1: the answers of a scene do not depend on it."""

import shutil

import numpy as np
import pytest
import torch
from small_features import FEATURE_WIDTH, grid_embeddings, write_small_grids
from small_scene import write_small_scene

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from evaluation.stage import QueryConfig, eval_query
from query import session
from training.language import train_language
from training.language_config import LanguageTrainConfig
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import ModelFolder, load_array, read_json

PHRASES = tuple(f"thing {i}" for i in range(6))


class Things:
    """A text encoder that knows what the patches of the small scene show."""

    negatives = ("object", "stuff")
    temperature = 10.0
    width = FEATURE_WIDTH

    def embed(self, phrases):
        table = grid_embeddings()
        mean = torch.nn.functional.normalize(table.mean(0), dim=0)
        return torch.stack([table[int(phrase[-1])] if phrase in PHRASES else mean for phrase in phrases])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A scene and its Gaussians, without features."""
    root = tmp_path_factory.mktemp("world")
    (root / "scene").mkdir()
    write_small_scene(root / "scene")
    train_rgb(RgbTrainConfig(root / "scene", root / "model", eval=True, preset="fast", iterations=150, device="cpu"))
    return root


@pytest.mark.parametrize("method", ["autoencoder", "pca"])
def test_tokens_of_norm_45_give_the_answers_of_unit_tokens(trained, method, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "text_encoder", lambda *_: Things())
    rows, codes = {}, {}
    for length in (1, 45):
        place = tmp_path / str(length)
        shutil.copytree(trained, place)
        scene, root = place / "scene", place / "model"
        write_small_grids(scene, length)
        train_autoencoder(AutoencoderConfig(scene, root, method=method, epochs=30, device="cpu"))
        train_language(LanguageTrainConfig(scene, root, preset="fast", device="cpu"))
        eval_query(QueryConfig(model_path=(root,), source_path=scene, text=PHRASES, all_views=True, device="cpu"))
        model = ModelFolder(root).reading(None)
        rows[length] = read_json(model.metrics)["rows"]
        codes[length] = np.stack([load_array(model.codes(f"view_{i:02d}")) for i in range(13)])
    assert len(rows[1]) == 13 * len(PHRASES)
    # 45 is no power of two, so tokens round differently in half precision, 5e-4 relative.
    assert np.abs(codes[1] - codes[45]).max() < 0.02 * np.abs(codes[1]).max()
    points = [np.hypot(*np.subtract(one["point"], other["point"])) for one, other in zip(rows[1], rows[45], strict=True)]
    assert np.mean(np.array(points) <= 1) > 0.95
    for name, tolerance in (("score", 0.01), ("area", 0.02)):
        assert max(abs(one[name] - other[name]) for one, other in zip(rows[1], rows[45], strict=True)) < tolerance
    assert np.mean([one["present"] == other["present"] for one, other in zip(rows[1], rows[45], strict=True)]) > 0.95
