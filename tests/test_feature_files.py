"""Feature files of ours, of LangSplat and of DinoSplat, and the record that says what is in them."""

import json

import numpy as np
import pytest

from features.grid_store import GridStore, PatchGrid
from features.registry import open_store
from features.segment_store import Segments, SegmentStore
from workspace import InputError, SceneFolder
from workspace.record_types import FeatureSettings, FeaturesRecord
from workspace.stage_record import stage


@pytest.fixture
def scene(tmp_path):
    for name in ("a.b.JPG", "left/c.png"):
        path = tmp_path / "scene" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return SceneFolder(tmp_path / "scene")


def _store(scene):
    return SegmentStore(scene, FeatureSettings("sam_clip"))


def _grids(scene):
    return GridStore(scene, FeatureSettings("dino"))


def _segments(width=512):
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(7, width)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings, generator.integers(-1, 7, (4, 6, 9)).astype(np.int32)


def test_segments_come_back_under_dotted_names_and_in_folders(scene):
    embeddings, maps = _segments()
    for key in scene.image_files():
        _store(scene).write(key, Segments(embeddings, maps))
        found = _store(scene).read(key)
        np.testing.assert_array_equal(found.embeddings, embeddings)
        np.testing.assert_array_equal(found.maps, maps)
    names = sorted(path.relative_to(scene.language_features).as_posix() for path in scene.language_features.rglob("*.npy"))
    assert names == ["a.b_f.npy", "a.b_s.npy", "left/c_f.npy", "left/c_s.npy"]


def test_segments_of_langsplat_are_read(scene):
    embeddings, maps = _segments()
    scene.language_features.mkdir()
    for key in scene.image_files():
        scene.segment_maps(key).parent.mkdir(exist_ok=True)
        np.save(scene.segment_embeddings(key), embeddings)
        np.save(scene.segment_maps(key), maps.astype(np.float32))
    store = open_store(scene)
    assert store.read("left/c").maps.dtype == np.int32
    np.testing.assert_array_equal(store.read("left/c").maps, maps)
    assert store.settings == FeatureSettings("sam_clip", clip_model="ViT-B-16", clip_pretrained="laion2b_s34b_b88k")
    scene.segment_maps("a.b").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of 2 images, for example 'a.b'"):
        open_store(scene)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda embeddings, maps: (embeddings[:5], maps), "expected indices from -1 to 4, found -1 to 6"),
        (lambda embeddings, maps: (embeddings, maps[:3]), r"found \[7, 512\] and \[3, 6, 9\]"),
        (lambda embeddings, maps: (embeddings, maps + np.float32(0.5)), "not whole numbers"),
        (lambda embeddings, maps: (embeddings * np.float32(np.nan), maps), "not finite"),
    ],
)
def test_segments_that_do_not_fit_are_refused(scene, change, message):
    embeddings, maps = change(*_segments())
    scene.language_features.mkdir()
    np.save(scene.segment_embeddings("a.b"), embeddings)
    np.save(scene.segment_maps("a.b"), maps)
    with pytest.raises(InputError, match=message):
        _store(scene).read("a.b")


def test_missing_segments_name_the_command(scene):
    with pytest.raises(InputError, match=r"No segment features for image 'a.b'.*python preprocess.py -s .* --features sam_clip"):
        _store(scene).read("a.b")
    with pytest.raises(InputError, match=r"python preprocess.py -s"):
        open_store(scene)


def test_an_image_without_any_segment_is_kept(scene):
    _store(scene).write("a.b", Segments(np.zeros((0, 512), np.float32), np.full((4, 6, 9), -1, np.int32)))
    segments = _store(scene).read("a.b")
    assert segments.embeddings.shape == (0, 512)
    assert (segments.maps == -1).all()


def test_grids_come_back_and_dinosplats_are_turned(scene):
    grid = np.random.default_rng(0).normal(size=(3, 5, 768)).astype(np.float16)
    _grids(scene).write("left/c", PatchGrid(grid))
    np.testing.assert_array_equal(_grids(scene).embeddings("left/c"), grid)
    np.savez(scene.foreign_patch_grid("a.b"), grid.transpose(2, 0, 1).astype(np.float32))
    np.testing.assert_array_equal(_grids(scene).embeddings("a.b"), grid)


def test_folders_of_dinosplat_have_a_record(scene):
    for key in scene.image_files():
        scene.foreign_patch_grid(key).parent.mkdir(parents=True, exist_ok=True)
        np.savez(scene.foreign_patch_grid(key), np.zeros((768, 37, 37), np.float32))
    assert open_store(scene).extractor == "dino"
    np.savez(scene.foreign_patch_grid("a.b"), np.zeros((384, 37, 37), np.float32))
    with pytest.raises(InputError, match="384 wide"):
        open_store(scene)


def test_damaged_grids_are_refused(scene):
    scene.dino_features.mkdir()
    scene.foreign_patch_grid("a.b").write_bytes(b"PK broken")
    with pytest.raises(InputError, match=r"a.b.npz is not a readable .npz archive with an array arr_0"):
        _grids(scene).embeddings("a.b")
    np.savez(scene.foreign_patch_grid("a.b"), other=np.zeros(3))
    with pytest.raises(InputError, match="arr_0"):
        _grids(scene).embeddings("a.b")
    np.save(scene.patch_grid("a.b"), np.full((2, 2, 4), np.inf, np.float16))
    with pytest.raises(InputError, match="expected finite floats"):
        _grids(scene).embeddings("a.b")


def test_record_tells_spaces_apart(scene):
    with stage(scene.language_features, FeaturesRecord, {"features": "mini"}, {}):
        pass
    assert open_store(scene).extractor == "mini"
    with pytest.raises(InputError, match="holds mini features, not sam_clip.*--features sam_clip --overwrite"):
        open_store(scene, "sam_clip")
    with stage(scene.dino_features, FeaturesRecord, {"features": "dino"}, {}):
        pass
    with pytest.raises(InputError, match="has both language_features and dino_features; say which"):
        open_store(scene)
    assert open_store(scene, "dino").extractor == "dino"
    record = json.loads((scene.dino_features / "stage.json").read_text())
    (scene.dino_features / "stage.json").write_text(json.dumps({**record, "complete": False}))
    with pytest.raises(InputError, match="did not finish"):
        open_store(scene, "dino")
