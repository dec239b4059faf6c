"""Stage 1 with the bundled encoder, at random weights, and segments made ahead by processes."""

import os
import signal

import numpy as np
import pytest
import torch
from small_photographs import photograph_scene

from features import graph_segments, mini
from features.extraction import extract_all
from features.extractor import Extractor
from features.grid_store import GridStore
from features.photographs import scene_photographs
from features.preprocessing import PreprocessConfig, preprocess
from features.registry import open_store, text_encoder
from workspace import InputError
from workspace.record_types import FeatureSettings


@pytest.fixture
def scene(tmp_path):
    return photograph_scene(tmp_path)


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """The bundled architecture with random weights, so that the test is not about the trained ones."""
    import open_clip
    from safetensors.torch import save_file

    open_clip.add_model_config(mini.CONFIG)
    torch.manual_seed(0)
    state = {name: value.contiguous() for name, value in open_clip.create_model(mini.MODEL).state_dict().items()}
    save_file(state, tmp_path / "mini.safetensors")
    monkeypatch.setattr(mini, "WEIGHTS", tmp_path / "mini.safetensors")
    return {"device": "cpu"}


def test_the_bundled_extractor_needs_no_download(scene, bundled, caplog):
    preprocess(PreprocessConfig(scene.root, features="mini", **bundled))
    assert mini.NOTICE in caplog.text  # these are no toy worlds
    for key in ("one", "a.b", "left/one"):
        segments = open_store(scene).read(key)
        embeddings, maps = segments.embeddings, segments.maps
        assert (maps >= 0).all()
        counts = [len(np.unique(indices)) for indices in maps]
        assert sum(counts) == len(embeddings)
        assert counts[1] >= counts[2] >= counts[3]  # pieces, parts, wholes
        default, parts = maps[0], maps[2] - counts[0] - counts[1]
        np.testing.assert_array_equal(default, parts)
        np.testing.assert_array_equal(embeddings[: counts[0]], embeddings[counts[0] + counts[1] :][: counts[2]])
    assert text_encoder(open_store(scene).settings, "cpu").width == embeddings.shape[1]


def test_the_bundled_extractor_is_silent_in_toy_worlds(scene, bundled, caplog):
    scene.part_ids.mkdir()
    preprocess(PreprocessConfig(scene.root, features="mini_dense", **bundled))
    assert mini.NOTICE not in caplog.text
    grid = open_store(scene).embeddings("one")
    assert grid.shape == (60, 80, 64)  # 480 pixels on the short side, patches of 8
    assert open_store(scene, "mini_dense").extractor == "mini_dense"


def test_segments_of_other_thresholds_are_not_mixed(scene, bundled, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(graph_segments, "SETTINGS", {"merge_above": [0.7, 0.5, 0.5]})
        preprocess(PreprocessConfig(scene.root, features="mini", **bundled))
    with pytest.raises(InputError, match=r"with other settings:\n.*merge_above.*\n.*--overwrite"):
        preprocess(PreprocessConfig(scene.root, features="mini", **bundled))


def test_missing_bundled_weights_name_the_file(scene, bundled, monkeypatch, tmp_path):
    monkeypatch.setattr(mini, "WEIGHTS", tmp_path / "gone.safetensors")
    with pytest.raises(InputError, match="gone.safetensors, which belongs to the code, is missing"):
        preprocess(PreprocessConfig(scene.root, features="mini", **bundled))


def _killed(image):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_ends_with_advice(scene, monkeypatch):
    monkeypatch.setattr("features.extraction.MIN_PARALLEL", 1)
    store, extractor = GridStore(scene, FeatureSettings("mini_dense")), Extractor({"segmenter": _killed}, True)
    with pytest.raises(InputError, match=r"was killed before image 'a.b'.*--resolution 720"):
        extract_all(store, scene_photographs(scene), extractor, scene.root / "log.jsonl")


def test_pictures_segmented_ahead_by_processes_give_the_same_features(scene, bundled, monkeypatch, tmp_path, caplog):
    (scene.images / "broken.jpg").write_bytes(b"no picture")
    for folder, worth in (("one", 100), ("many", 2)):
        monkeypatch.setattr("features.extraction.MIN_PARALLEL", worth)
        with pytest.raises(SystemExit):
            preprocess(PreprocessConfig(source_path=scene.root, features="mini", device="cpu"))
        assert "1 of 4 photographs have no features" in caplog.text and "broken.jpg" in caplog.text
        caplog.clear()
        scene.language_features.rename(tmp_path / folder)
    one, many = (
        {p.relative_to(tmp_path / folder): p.read_bytes() for p in (tmp_path / folder).rglob("*.npy")}
        for folder in ("one", "many")
    )
    assert len(one) == 6 and one == many
