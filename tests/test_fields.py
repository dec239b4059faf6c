"""Several language fields in one model folder: each command reads and writes its own, and old folders are read as before."""

import hashlib
import shutil

import pytest
import torch
from small_answers import Words, write_model, write_scene
from small_features import write_small_segments
from small_scene import write_small_scene

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from evaluation.stage import QueryConfig, eval_query
from query import session
from query.render_language import LanguageRenderConfig, render_language
from training.language import train_language
from training.language_config import LanguageTrainConfig
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder, read_json
from workspace.resume import delete_checkpoints, load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("balls"))


@pytest.fixture
def two(balls, tmp_path, monkeypatch):
    """A model folder with the fields `published` and `noisy`."""
    monkeypatch.setattr(session, "text_encoder", lambda *_: Words())
    write_model(tmp_path / "model", balls)
    return write_model(tmp_path / "model", balls, noise=0.3, field="noisy")


def _hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def _ask(model, **settings):
    eval_query(QueryConfig(model_path=(model.root,), text=("red ball",), names=("frame_00004",), device="cpu", **settings))


def test_questions_go_to_the_named_field_and_else_to_the_published_one(two):
    _ask(two, field="noisy")
    _ask(two)
    noisy, published = (read_json(ModelFolder(two.root, field).metrics) for field in ("noisy", "published"))
    assert (noisy["field"], published["field"]) == ("noisy", "published")
    assert noisy["rows"][0]["score"] != published["rows"][0]["score"]
    with pytest.raises(InputError, match="holds no field 'lifted', but noisy, published. Choose one of them with --field"):
        _ask(two, field="lifted")


def test_maps_of_two_fields_stand_side_by_side(two):
    for field in ("noisy", "published"):
        render_language(LanguageRenderConfig(model_path=two.root, field=field, names=("frame_00004",), device="cpu"))
    names = "s/views/frame_00004.npy"
    noisy, published = (ModelFolder(two.root, field).field_renders("train", "codes") / names for field in ("noisy", "published"))
    assert noisy.read_bytes() != published.read_bytes()


def test_the_only_field_needs_no_name(balls, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "text_encoder", lambda *_: Words())
    model = write_model(tmp_path / "model", balls, field="lifted")
    _ask(model)
    assert read_json(model.metrics)["field"] == "lifted"


def test_a_folder_without_names_of_fields_is_the_published_one_and_is_continued_in_place(two):
    flat = ModelFolder(two.root)
    for stage in ("autoencoder", "language"):
        folder = two.root / stage
        for path in list((folder / "published").iterdir()):
            path.replace(folder / path.name)
        (folder / "published").rmdir()
    flat = ModelFolder(two.root)
    assert flat.fields() == ("noisy", "published") and flat.compressor == two.root / "autoencoder" / "compressor.pth"
    _ask(flat)
    assert read_json(flat.metrics)["field"] == "published"
    assert ModelFolder(two.root, "noisy").compressor == two.root / "autoencoder" / "noisy" / "compressor.pth"


def test_training_one_field_leaves_the_others_as_they_are(tmp_path):
    """Both stages, with another method, and once more with --overwrite, around an interrupted run of the other field."""
    scene, root = tmp_path / "scene", tmp_path / "model"
    scene.mkdir()
    write_small_segments(write_small_scene(scene))
    train_rgb(RgbTrainConfig(scene, root, eval=True, preset="fast", iterations=20, device="cpu"))
    small = {"source_path": scene, "model_path": root, "device": "cpu"}
    train_autoencoder(AutoencoderConfig(**small, epochs=2, batch_size=16))
    train_language(LanguageTrainConfig(**small, iterations=4, init="lift"))
    published = ModelFolder(root)
    save_checkpoint(published, "language", 3, {"value": torch.tensor(3.0)})
    before = _hashes(published.autoencoder) | _hashes(published.language) | _hashes(published.checkpoints)
    for again in (False, True):
        train_autoencoder(AutoencoderConfig(**small, method="pca", overwrite=again))
        train_language(LanguageTrainConfig(**small, field="pca", iterations=4, overwrite=again))
    assert published.fields("autoencoder") == published.fields() == ("pca", "published")
    assert _hashes(published.autoencoder) | _hashes(published.language) | _hashes(published.checkpoints) == before
    with pytest.raises(InputError, match="holds no field 'other', but pca, published"):
        train_language(LanguageTrainConfig(**small, field="other"))


def test_checkpoints_are_told_apart_by_field(tmp_path):
    published, numbered = ModelFolder(tmp_path), ModelFolder(tmp_path, "published_000007")
    save_checkpoint(published, "language", 5, {"value": torch.tensor(5.0)})
    save_checkpoint(numbered, "language", 9, {"value": torch.tensor(9.0)})
    (tmp_path / "checkpoints" / "language_backup.pth").write_bytes(b"mine")
    assert load_checkpoint(published, "language")["value"] == 5 and load_checkpoint(numbered, "language")["value"] == 9
    delete_checkpoints(published, "language")
    assert load_checkpoint(published, "language") is None and load_checkpoint(numbered, "language")["value"] == 9
    assert (tmp_path / "checkpoints" / "language_backup.pth").read_bytes() == b"mine"


def test_a_checkpoint_from_before_fields_had_names_is_continued(tmp_path):
    model = ModelFolder(tmp_path)
    save_checkpoint(model, "language", 5, {"value": torch.tensor(5.0)})
    model.checkpoint("language", 5).rename(tmp_path / "checkpoints" / "language_000005.pth")
    assert load_checkpoint(model, "language")["value"] == 5
    shutil.copy(tmp_path / "checkpoints" / "language_000005.pth", model.checkpoint("language", 6))
    delete_checkpoints(model, "language")
    assert not list(model.checkpoints.iterdir())


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", "codes", ".hidden"])
def test_names_that_are_no_folder_names_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="--field"):
        ModelFolder(tmp_path, name)


def test_a_codebook_that_is_not_lifted_yet_names_the_command(two, balls):
    """Also beside another field: then its name has to be given."""
    expected = rf"python train.py -s {balls} -m {two.root} --field noisy --include_feature"
    for field in ("noisy", "published"):
        shutil.rmtree(two.root / "language" / field)
        with pytest.raises(InputError) as refused:
            _ask(two, field="noisy")
        assert str(refused.value).endswith(f"Run: {expected}")
    shutil.rmtree(two.root / "autoencoder" / "published")
    with pytest.raises(InputError) as refused:
        _ask(two)
    assert str(refused.value).endswith(f"Run: {expected}")
