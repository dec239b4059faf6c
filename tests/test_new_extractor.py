"""A kind of features that the code does not know: one class, one line in the registry, and every stage takes it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_scene import HEIGHT, WIDTH, write_small_scene

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from features import registry
from features.extractor import Extractor, ExtractorSpec
from features.feature_store import FeatureStore
from features.preprocessing import PreprocessConfig, preprocess
from features.targets import GridTarget
from query.loading import load_field
from training.language import LanguageTrainConfig, train_language
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import ModelFolder, load_array, save_array


class Quarters:
    """Mean colours of a picture's quarters, in a space of four."""

    def __init__(self, image):
        blocks = image[: HEIGHT // 2 * 2, : WIDTH // 2 * 2].reshape(2, HEIGHT // 2, 2, WIDTH // 2, 3)
        self.rows = np.concatenate([blocks.mean((1, 3)).reshape(4, 3) / 255, np.eye(4, 1)], 1).astype(np.float32)

    def counts(self):
        return {"quarters": 4}


class QuarterStore(FeatureStore):
    levels = trained_levels = ("quarters",)
    dense = False
    code_dtype = np.float32

    @classmethod
    def folder_of(cls, scene) -> Path:
        return scene.root / "quarter_features"

    @classmethod
    def foreign_settings(cls, scene):
        return None

    def has(self, key):
        return self._file(key).is_file()

    def write(self, key, value):
        save_array(self._file(key), value.rows)

    def read(self, key):
        return self.embeddings(key)

    def embeddings(self, key):
        return load_array(self._file(key))

    def target(self, key, codes, levels, camera, device):
        return GridTarget(torch.from_numpy(codes.T.reshape(-1, 2, 2)).to(device), camera.width, camera.height)

    def _file(self, key):
        return self.folder / f"{key}.quarters.npy"


class Words:
    negatives = ("thing",)
    temperature = 10.0
    width = 4

    def embed(self, phrases):
        return torch.nn.functional.normalize(torch.ones(len(phrases), 4), dim=1)


class QuarterSpec(ExtractorSpec):
    store = QuarterStore

    def settings(self, options):
        return {"quarters": 4}

    def load(self, options, device):
        return Extractor({"mean": Quarters})

    def text_encoder(self, settings, device, options):
        return Words()


@pytest.fixture
def registered(monkeypatch):
    # under a known name: those that the command line offers are read when the code is imported
    monkeypatch.setitem(registry.EXTRACTORS, "mini_dense", QuarterSpec())


def test_a_new_kind_is_one_class_and_one_line(registered, tmp_path):
    (tmp_path / "scene").mkdir()
    scene, model = write_small_scene(tmp_path / "scene"), ModelFolder(tmp_path / "model", "pca")
    preprocess(PreprocessConfig(scene, features="mini_dense", device="cpu"))
    train_rgb(RgbTrainConfig(scene, model.root, eval=True, preset="fast", iterations=20, device="cpu"))
    train_autoencoder(AutoencoderConfig(scene, model.root, method="pca", code_width=2, device="cpu"))
    train_language(LanguageTrainConfig(model_path=model.root, init="lift", iterations=5, device="cpu"))
    field = load_field(model, torch.device("cpu"))
    assert field.levels == ("quarters",) and field.channels.shape[1] == 2
    assert registry.text_encoder(field.features, "cpu").embed(["anything"]).shape == (1, 4)
