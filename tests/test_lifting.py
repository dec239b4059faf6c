"""Lifting a codebook over a small scene: mixtures against a plain sum, resuming, memory, unknown Gaussians, refusals."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_features import write_small_grids, write_small_segments
from small_scene import write_small_scene

from autoencoder.config import AutoencoderConfig
from autoencoder.kinds import load_compressor
from autoencoder.mixtures import load_mixtures
from autoencoder.stage import train_autoencoder
from features.registry import open_store
from features.segment_store import Segments
from gaussian_renderer import prepare_view
from gaussian_renderer.trained_model import load_trained
from training import code_sums, export, lifting
from training.code_sums import CodeSums
from training.export import ExportConfig, export_features
from training.language import LanguageTrainConfig, train_language
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder, SceneFolder, read_json, resume
from workspace.record_types import LanguageRecord
from workspace.stage_record import require

LEVELS = ("s", "m", "l")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    (root / "scene").mkdir()
    write_small_grids(write_small_segments(write_small_scene(root / "scene")))
    train_rgb(RgbTrainConfig(root / "scene", root / "model", eval=True, preset="fast", iterations=100, device="cpu"))
    _codebook(root)
    return root


@pytest.fixture
def place(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "place")
    return tmp_path / "place"


def _codebook(place, **changes):
    settings = {"features": "mini", "method": "codebook", "codebook_size": 6, "device": "cpu", "overwrite": True, **changes}
    train_autoencoder(AutoencoderConfig(place / "scene", place / "model", **settings))


def _lift(place, **changes):
    train_language(LanguageTrainConfig(place / "scene", place / "model", device="cpu", **changes))
    return ModelFolder(place / "model", "lifted")


def _report(model):
    return require(model.language, LanguageRecord, "").report


def _one_hot_sums(place, level):
    """[n, codes] blending weight by code and [n] the weight without one: blending's backward pass of one-hot images."""
    model = ModelFolder(place / "model", "lifted")
    trained, codebook = load_trained(model), load_compressor(model)
    store, index = open_store(SceneFolder(place / "scene"), "mini"), ("default", *LEVELS).index(level)
    count = len(codebook.centroids(level))
    sums = torch.zeros(len(trained.gaussians), count + 1)
    for camera in trained.scene().train:
        labels = torch.from_numpy(store.read(camera.name).maps[index]).long()
        codes = torch.from_numpy(np.load(model.codes(camera.name)).astype(np.int64))
        image = F.one_hot(torch.where(labels < 0, count, codes[labels.clamp_min(0)]), count + 1).movedim(-1, 0).float()
        zeros = torch.zeros_like(sums).requires_grad_()
        (found,) = torch.autograd.grad(prepare_view(camera, trained.gaussians).rasterize(zeros).image, zeros, image)
        sums += found
    return sums[:, :-1], sums[:, -1]


def test_mixtures_are_the_largest_sums_of_blending_weights(place):
    model = _lift(place, codes_per_gaussian=4)
    codebook, n = load_compressor(model), len(load_trained(model).gaussians)
    for level in LEVELS:
        sums, without = _one_hot_sums(place, level)
        table = codebook.centroids(level)
        found = load_mixtures(model.level_codes(level), n, len(table))
        total = sums.sum(1)
        assert torch.equal(found.known, total > 0)
        largest, codes = sums.topk(4, dim=1)
        expected = torch.zeros_like(sums).scatter_(1, codes, largest) / largest.sum(1, keepdim=True).clamp_min(1e-9)
        shares = torch.zeros_like(sums).scatter_add_(1, found.indices.long(), found.weights)
        assert (shares - expected).abs().max() < 0.007  # shares are stored as bytes
        coverage = total / (total + without).clamp_min(1e-9)
        assert (found.coverage - coverage).abs().max() < 0.006
        row = _report(model).lifted[level]
        known = total > 0
        assert row.kept_mass == pytest.approx((largest.sum(1) / total)[known].mean().item(), abs=1e-3)
        assert row.coverage == pytest.approx(coverage[known].mean().item(), abs=1e-3)
        assert row.cosine == pytest.approx(F.cosine_similarity(expected @ table, sums @ table)[known].mean().item(), abs=1e-3)
        assert row.unknown == int((~known).sum()) and row.codes == len(table)


def test_held_out_views_show_the_photographs_codes(place, caplog):
    caplog.set_level("INFO")
    model = _lift(place)
    for level, least in (("s", 0.85), ("m", 0.6), ("l", 0.9)):  # as for optimised codes of the same scene
        assert _report(model).held_out[level].cosine > least
    assert "kept mass" in caplog.text
    assert not list(model.checkpoints.glob("language*"))


def test_gaussians_never_seen_are_unknown_and_stay(place):
    """Hide one thing's photographs behind maps without segments: nobody may call its Gaussians anything."""
    store = open_store(SceneFolder(place / "scene"), "mini")
    for key in store.keys():
        segments = store.read(key)
        maps = segments.maps.copy()
        maps[1][maps[1] == 6] = -1  # the first of level s
        store.write(key, Segments(segments.embeddings, maps))
    model = _lift(place, overwrite=True)
    n = len(load_trained(model).gaussians)
    found = load_mixtures(model.level_codes("s"), n, 6)
    assert len(found) == n and 0 < int((~found.known).sum()) == _report(model).lifted["s"].unknown
    assert found.weights[~found.known].abs().sum() == 0 and found.norm[~found.known].abs().sum() == 0


def test_an_interrupted_lift_continues_to_the_same_bytes(place, monkeypatch):
    model = _lift(place)
    whole = {level: model.level_codes(level).read_bytes() for level in LEVELS}
    shutil.rmtree(model.language)
    add, seen = CodeSums.add, []

    def interrupting(sums, *rows):
        seen.append(1)
        if len(seen) == 3 * 4:
            os.kill(os.getpid(), signal.SIGINT)
        add(sums, *rows)

    with monkeypatch.context() as patch:
        patch.setattr(CodeSums, "add", interrupting)
        with pytest.raises(KeyboardInterrupt):
            _lift(place)
    assert not read_json(model.language / "stage.json")["complete"] and len(list(model.checkpoints.glob("language*"))) == 1
    monkeypatch.setattr(CodeSums, "add", lambda sums, *rows: (seen.append(1), add(sums, *rows)))
    seen.clear()
    _lift(place)
    assert len(seen) == 3 * (len(load_trained(model).scene().train) - 4)
    assert {level: model.level_codes(level).read_bytes() for level in LEVELS} == whole


def test_what_is_kept_while_views_are_added_does_not_grow_with_their_number(place, monkeypatch):
    sizes = []
    add = CodeSums.add

    def measured(sums, *rows):
        add(sums, *rows)
        state = sums.state()
        sizes.append(sum(value.numel() * value.element_size() for value in state.values() if torch.is_tensor(value)))

    monkeypatch.setattr(CodeSums, "add", measured)
    monkeypatch.setattr(code_sums, "BUFFER", 0)
    monkeypatch.setattr(lifting, "PLACES", 2)
    model = _lift(place, codes_per_gaussian=2)
    n = len(load_trained(model).gaussians)
    assert max(sizes) <= n * (2 * 8 + 3 * 4) + 4 and len(sizes) > 30  # two places, two totals and a row pointer


def test_one_level_one_code_and_the_sample_at_the_centre(place):
    model = _lift(place, feature_level=2, codes_per_gaussian=1, samples="centre")
    n = len(load_trained(model).gaussians)
    found = load_mixtures(model.level_codes("m"), n, 6)
    assert found.indices.shape == (n, 1) and not model.level_codes("s").exists()
    everything = _lift(place, feature_level=2, codes_per_gaussian=1, overwrite=True)
    other = load_mixtures(everything.level_codes("m"), n, 6)
    both = found.known & other.known
    assert 0.6 < (found.indices == other.indices)[both].float().mean() < 1
    assert int(found.known.sum()) < int(other.known.sum())


def test_patch_features_are_lifted_too(place):
    _codebook(place, features="mini_dense", codebook_size=7, train_share=0.5)
    model = _lift(place)
    assert _report(model).held_out["grid"].cosine > 0.6
    assert list(_report(model).lifted) == ["grid"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes_per_gaussian": 7}, r"--codes_per_gaussian 7: expected 1 to 6; the codebook has 6 codes"),
        ({"codes_per_gaussian": 0}, "--codes_per_gaussian 0: expected 1"),
        ({"iterations": 100}, "--iterations: a codebook is lifted in closed form"),
        ({"init": "zero"}, "--init: a codebook is lifted"),
    ],
)
def test_settings_without_a_meaning_are_refused(place, changes, message):
    with pytest.raises(InputError, match=message):
        _lift(place, **changes)
    assert not (place / "model" / "language").exists()


def test_codes_of_another_codebook_are_refused(place):
    model = ModelFolder(place / "model", "lifted")
    command = f"python train_autoencoder.py -s {place / 'scene'} -m {model.root} --field lifted --method codebook"
    path = model.codes("view_03")
    codes = np.load(path)
    for wrong, message in (
        (codes + np.uint16(40), r"view_03.npy names code 4\d at level s, of 6: it is of another codebook"),
        (codes[:3], "for 3 embeddings; expected the uint16 codes"),
        (codes.astype(np.float32), "holds float32"),
    ):
        np.save(path, wrong)
        with pytest.raises(InputError, match=f"{message}.* {command} --overwrite$"):
            _lift(place, overwrite=True)
    path.unlink()
    with pytest.raises(InputError, match=f"No codes for image 'view_03' .* Run: {command}$"):
        _lift(place, overwrite=True)
    model.compressor.unlink()
    with pytest.raises(InputError, match="No compressor .* --field lifted --method codebook --overwrite$"):
        _lift(place, overwrite=True)


def test_another_codebook_than_the_fields_is_noticed(place):
    _lift(place)
    _codebook(place, codebook_size=5)
    with pytest.raises(InputError, match="inputs.autoencoder: another one now"):
        _lift(place)


def test_a_level_without_segments_is_refused_by_name(place):
    store = open_store(SceneFolder(place / "scene"), "mini")
    for key in store.keys():
        segments = store.read(key)
        store.write(key, Segments(segments.embeddings, np.where(np.arange(4)[:, None, None] == 2, -1, segments.maps)))
    _codebook(place)
    with pytest.raises(InputError, match="not at 'm': no photograph has a segment there"):
        _lift(place)
    assert _lift(place, feature_level=1).level_codes("s").exists()


def test_flags_of_codebooks_mean_nothing_for_codes_that_are_optimised(place):
    _codebook(place, method="pca", codebook_size=None)
    with pytest.raises(InputError, match="--codes_per_gaussian and --samples are of lifted codebooks"):
        _lift(place, codes_per_gaussian=2, field="pca")
    _lift(place, field="pca")
    config = read_json(ModelFolder(place / "model", "pca").language / "stage.json")["config"]
    assert (config["iterations"], config["init"]) == (200, "lift")


def test_saving_happens_while_views_are_added(place, monkeypatch):
    saved = []
    monkeypatch.setattr(lifting, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(resume, "save_checkpoint", lambda model, stage, done, state: saved.append(done))
    model = _lift(place)
    assert saved == list(range(1, len(load_trained(model).scene().train)))


def test_a_field_is_exported_as_one_array_in_the_order_of_its_gaussians(place, monkeypatch):
    monkeypatch.setattr(export, "CHUNK", 7)
    model = _lift(place, codes_per_gaussian=4)
    codebook, n = load_compressor(model), len(load_trained(model).gaussians)
    mixtures = load_mixtures(model.level_codes("m"), n, 6)
    expected = F.normalize(mixtures.blend(codebook.centroids("m")), dim=1)
    output = place / "features.npy"
    export_features(ExportConfig(place / "model", output, level="m", dtype="float32", device="cpu"))
    np.testing.assert_allclose(np.load(output), expected.numpy(), atol=1e-6)
    export_features(ExportConfig(place / "model", output, level="m", device="cpu"))
    assert np.load(output).dtype == np.float16
    with pytest.raises(InputError, match="the field has the levels s, m, l. Choose one: --level s"):
        export_features(ExportConfig(place / "model", output, device="cpu"))
    with pytest.raises(InputError, match="ends in .npy"):
        export_features(ExportConfig(place / "model", place / "features.txt", level="m", device="cpu"))

    _codebook(place, method="pca", code_width=5, codebook_size=None)
    _lift(place, iterations=0, field="pca")
    model = ModelFolder(place / "model", "pca")
    export_features(ExportConfig(place / "model", output, field="pca", level="s", dtype="float32", device="cpu"))
    codes = torch.from_numpy(np.load(model.level_codes("s")))
    expected = torch.where(codes.ne(0).any(1, keepdim=True), load_compressor(model).decode(codes), 0)
    np.testing.assert_allclose(np.load(output), expected.numpy(), atol=1e-6)
