"""Masks and features that the user brings: files, and a function of an installed package."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import small_clip

from features.clip import ClipEncoder
from features.entry_points import registered
from features.masks import Mask, cut_crops
from features.own_segments import own_segments
from features.preprocessing import PreprocessConfig, preprocess
from features.registry import open_store, text_encoder
from features.text import TextOptions
from workspace import InputError, SceneFolder
from workspace.record_types import FeatureSettings

HEIGHT, WIDTH = 24, 36


@pytest.fixture
def scene(tmp_path):
    scene = SceneFolder(tmp_path / "scene")
    for seed, name in enumerate(("one.png", "left/two.png")):
        path = scene.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    return scene


def _halves(left=0, right=2):
    labels = np.full((HEIGHT, WIDTH), -1, np.int64)
    labels[2:, : WIDTH // 2], labels[2:, WIDTH // 2 :] = left, right
    return labels


def _save(folder, key, array):
    (folder / key).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{key}.npy", array)


def test_own_masks_and_embeddings_become_segments(scene, tmp_path):
    masks, table = tmp_path / "masks", np.array([[3.0, 4.0, 0], [1, 0, 0], [0, 0, -2]], np.float16)
    whole = np.zeros((HEIGHT, WIDTH), np.int64)
    _save(masks, "one", np.stack([_halves(), whole, whole + 1]).astype(np.int16))
    (masks / "left").mkdir()
    grey = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    grey[:, 9:] = 3  # label 2
    Image.fromarray(grey).save(masks / "left/two.png")
    for key in ("one", "left/two"):
        _save(tmp_path / "rows", key, table)
    preprocess(PreprocessConfig(scene.root, features="own", masks=masks, embeddings=tmp_path / "rows", device="cpu"))
    store = open_store(scene, "own")
    segments = store.read("one")
    looked_up = np.where(segments.maps[..., None] >= 0, segments.embeddings[segments.maps], 0)
    unit = np.array([[0.6, 0.8, 0], [1, 0, 0], [0, 0, -1]], np.float32)
    # levels default, s, m, l: m is also default
    for level, labels in enumerate((whole, _halves(), whole, whole + 1)):
        np.testing.assert_allclose(looked_up[level], np.where(labels[..., None] >= 0, unit[labels], 0), atol=1e-6)
    assert store.membership("one")[0].tolist() == [0, 1, 1, 2, 3]
    two = store.read("left/two")
    assert two.maps.shape == (4, HEIGHT, WIDTH)
    assert (two.maps[:, :, :18] == -1).all()
    np.testing.assert_array_equal(two.embeddings[two.maps[2, 5, 18:]], np.tile(unit[2], (18, 1)))


def test_own_masks_are_embedded_by_the_clip_model(scene, tmp_path):
    name, weights = small_clip(tmp_path)
    for key in ("one", "left/two"):
        _save(tmp_path / "masks", key, _halves(7, 3))
    flags = {"clip_model": name, "clip_pretrained": str(weights), "device": "cpu"}
    preprocess(PreprocessConfig(scene.root, features="own", masks=tmp_path / "masks", **flags))
    store = open_store(scene)
    segments = store.read("one")
    encoder, image = ClipEncoder(name, str(weights)), np.asarray(Image.open(scene.images / "one.png"))
    right = Mask(WIDTH // 2, 2, np.ones((HEIGHT - 2, WIDTH // 2), bool))  # label 3 comes before 7
    expected = encoder.embed_crops(torch.from_numpy(cut_crops(image, [right], encoder.image_size, encoder.resize)))
    np.testing.assert_allclose(segments.embeddings[segments.maps[1, 10, 30]], expected[0], atol=1e-5)  # batch of another size
    assert len(segments.embeddings) == 8
    assert text_encoder(store.settings, "cpu").width == 32


def test_embeddings_that_no_phrase_can_be_compared_with_are_noticed_before_training(scene, tmp_path, caplog):
    name, _ = small_clip(tmp_path)  # 32 wide
    for folder, width in (("rows", 32), ("others", 5)):
        for key in ("one", "left/two"):
            _save(tmp_path / "masks", key, _halves())
            _save(tmp_path / folder, key, np.ones((3, width), np.float32))
    for folder, warnings in (("rows", 0), ("others", 1)):
        flags = {"masks": tmp_path / "masks", "embeddings": tmp_path / folder, "clip_model": name, "clip_pretrained": "own"}
        caplog.clear()
        preprocess(PreprocessConfig(scene.root, features="own", overwrite=True, device="cpu", **flags))
        assert caplog.text.count("rows of 5 numbers, and phrases through small-clip have 32") == warnings


def test_masks_without_any_label_are_warned_of(scene, tmp_path, caplog):
    for key in ("one", "left/two"):
        _save(tmp_path / "masks", key, _halves(-1, -1))
        _save(tmp_path / "rows", key, np.ones((1, 4), np.float32))
    masks = {"masks": tmp_path / "masks", "embeddings": tmp_path / "rows"}
    preprocess(PreprocessConfig(scene.root, features="own", device="cpu", **masks))
    assert "None of these pictures has a segment" in caplog.text


def test_own_files_are_checked(scene, tmp_path, caplog):
    masks, rows = tmp_path / "masks", tmp_path / "rows"
    with pytest.raises(InputError, match="add --masks DIR"):
        preprocess(PreprocessConfig(scene.root, features="own", device="cpu"))
    _save(masks, "one", _halves())
    config = PreprocessConfig(scene.root, features="own", masks=masks, embeddings=rows, device="cpu")
    with pytest.raises(InputError, match=r"masks lacks KEY.npy or KEY.png for 1 of 2 photographs: left/two"):
        preprocess(config)
    _save(masks, "left/two", _halves())
    for key, width in (("one", 4), ("left/two", 5)):
        _save(rows, key, np.ones((3, width), np.float32))
    for _ in range(2):  # of the pictures one is done; the other is reported, also by a run that finds the first one there
        caplog.clear()
        with pytest.raises(SystemExit):
            preprocess(config)
        assert "the embeddings are 4 wide, those of other pictures 5" in caplog.text
        assert len(list(scene.language_features.glob("**/*_f.npy"))) == 1
    with pytest.raises(InputError, match=r"with other settings:\n  config.embeddings: .*rows.* on disk, .*absent.* now"):
        preprocess(replace(config, embeddings=tmp_path / "absent"))
    (masks / "one.npy").write_text("a note")
    with pytest.raises(SystemExit):
        preprocess(replace(config, overwrite=True))
    assert "one.npy is not a readable .npy array" in caplog.text and "rerun the stage" not in caplog.text


@pytest.mark.parametrize(
    ("labels", "embeddings", "problem"),
    [
        (_halves().astype(float), np.ones((3, 4)), "expected labels as whole numbers"),
        (np.stack([_halves()] * 2), np.ones((3, 4)), r"\[1, 3 or 4 levels, h, w\], found int64 \[2, 24, 36\]"),
        (_halves() - 1, np.ones((3, 4)), "labels run from -2 to 1"),
        (_halves()[:, :20], np.ones((3, 4)), "20x24 pixels, the photograph 36x24: another shape"),
        (_halves(), np.ones((2, 4)), "label 2 has no embedding; there are 2 rows"),
        (_halves(), np.ones((3, 4), int), r"expected embeddings as floats \[m, d\], found int64"),
        (_halves(), np.diag([1.0, 0, 1]), "row 1 of the embeddings is zero or not finite"),
        (_halves(), np.full((3, 2), np.nan), "row 0 of the embeddings is zero or not finite"),
    ],
)
def test_what_does_not_fit_is_named(labels, embeddings, problem):
    with pytest.raises(InputError, match=f"here: .*{problem}"):
        own_segments(labels, embeddings, np.zeros((HEIGHT, WIDTH, 3), np.uint8), "here")


PACKAGE = """
import numpy as np
import torch

class Colours:
    negatives, temperature = ("grey",), 20
    def segments(self, image):
        return (image[..., 0] > 127).astype(np.int32), np.array([[0.0, 2.0], [5.0, 0.0]])
    def embed_text(self, phrases):
        return torch.tensor([[len(phrase), 1.0] for phrase in phrases])

def load(device):
    assert device.type == "cpu"
    return Colours()

class Failing:
    def segments(self, image):
        return image[99999]

def fail(device):
    return Failing()

class Widening:
    width = 1
    def segments(self, image):
        self.width += 1
        return torch.zeros(image.shape[:2], dtype=torch.int64), torch.ones(1, self.width, dtype=torch.bfloat16)

def widen(device):
    return Widening()

class Labels:
    def segments(self, image):
        return np.zeros(image.shape[:2], np.int32), None

def labels(device):
    return Labels()

def empty(device):
    return object()
"""


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "site"
    (folder / "colours-2.1.dist-info").mkdir(parents=True)
    (folder / "colours.py").write_text(PACKAGE)
    (folder / "colours-2.1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 2.1\n")
    lines = ("[open_vocabulary_3d.features]", "colours = colours:load", "hollow = colours:empty", "absent = colours:nothing")
    lines += ("widening = colours:widen", "labels = colours:labels", "dino = colours:load", "failing = colours:fail")
    (folder / "colours-2.1.dist-info/entry_points.txt").write_text("\n".join(lines))
    return folder


def test_a_function_of_an_installed_package_is_a_choice_of_features(scene, package):
    root = Path(__file__).parents[1]
    command = [sys.executable, "preprocess.py", "-s", scene.root, "--features", "colours", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    maps, embeddings = (np.load(scene.language_features / f"one_{kind}.npy") for kind in "sf")
    red = np.asarray(Image.open(scene.images / "one.png"))[..., 0] > 127
    np.testing.assert_array_equal(embeddings[maps[1]], np.where(red[..., None], [1.0, 0], [0, 1.0]))
    assert '"version": "2.1"' in (scene.language_features / "stage.json").read_text()
    with pytest.raises(InputError, match="No extractor 'colours'; there are sam_clip"):  # the package is not here
        text_encoder(open_store(scene).settings, "cpu")


def test_text_and_errors_of_a_registered_function(package, monkeypatch, caplog):
    monkeypatch.syspath_prepend(package)
    assert "dino" not in registered(taken=("sam_clip", "dino"))
    assert "--features dino is another extractor already; colours:load is ignored" in caplog.text
    found = registered()
    encoder = found["colours"].text_encoder(FeatureSettings("colours"), "cpu", TextOptions())
    assert (encoder.negatives, encoder.temperature, encoder.width) == (("grey",), 20, 2)
    torch.testing.assert_close(encoder.embed(["abc"]), torch.tensor([[3.0, 1.0]]) / 10**0.5)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    widening = found["widening"].load(None, torch.device("cpu"))
    np.testing.assert_allclose(widening(image).embeddings[0], [0.5**0.5, 0.5**0.5])
    with pytest.raises(InputError, match=r"colours:fail: segments\(\) raised IndexError.* at .*colours\.py, line 18"):
        found["failing"].load(None, torch.device("cpu"))(image)
    with pytest.raises(InputError, match=r"returned \(ndarray, NoneType\); expected \(labels, embeddings\)"):
        found["labels"].load(None, torch.device("cpu"))(image)
    with pytest.raises(InputError, match="What colours:empty returns has no method segments"):
        found["hollow"].load(None, torch.device("cpu"))
    with pytest.raises(InputError, match="absent .colours:nothing. cannot be loaded: AttributeError"):
        found["absent"].load(None, torch.device("cpu"))
