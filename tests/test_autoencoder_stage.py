"""train_autoencoder.py over a small scene: report, codes, continuation, refusals."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch
from small_features import FEATURE_WIDTH, write_small_grids, write_small_segments
from small_scene import NUM_VIEWS, write_small_scene

from autoencoder import fitting
from autoencoder.config import AutoencoderConfig
from autoencoder.embeddings import Embeddings, Rows
from autoencoder.kinds import load_compressor, write_compressor
from autoencoder.network import Autoencoder, published_widths
from autoencoder.stage import train_autoencoder
from features.grid_store import PatchGrid
from features.registry import open_store
from features.segment_store import Segments
from workspace import InputError, ModelFolder, SceneFolder, read_json


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return write_small_grids(write_small_segments(write_small_scene(tmp_path_factory.mktemp("scene"))))


def _run(scene_folder, model, **changes):
    settings = {"features": "mini", "epochs": 3, "batch_size": 16, "device": "cpu", **changes}
    train_autoencoder(AutoencoderConfig(scene_folder, model, **settings))
    return ModelFolder(model).reading(None, "autoencoder")


def test_codes_of_every_segment_and_a_report_before_them(scene_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    model = _run(scene_folder, tmp_path / "m", epochs=30, lr=3e-3)
    report = read_json(model.autoencoder / "stage.json")["report"]
    assert (report["method"], report["feature_width"], report["code_width"]) == ("autoencoder", FEATURE_WIDTH, 3)
    assert report["train"]["rows"] + report["validation"]["rows"] == 17 * NUM_VIEWS
    assert report["validation"]["rows"] == 12  # 5 % of 221, rounded up
    assert report["train"]["mean"] > 0.8 > 0 and report["train"]["percentile_5"] < report["train"]["mean"]
    assert "5th percentile" in caplog.text
    compressor, store = load_compressor(model), open_store(SceneFolder(scene_folder), "mini")
    for key in store.keys():
        codes, embeddings = np.load(model.codes(key)), store.embeddings(key)
        assert codes.shape == (17, 3) and codes.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-6)
        unit = torch.nn.functional.normalize(torch.from_numpy(embeddings), dim=1)
        np.testing.assert_array_equal(codes, compressor.encode(unit).numpy())


def test_patch_codes_lie_on_the_grid_and_components_of_any_width_need_no_images_in_memory(scene_folder, tmp_path):
    model = _run(scene_folder, tmp_path / "m", features="mini_dense", method="pca", code_width=8, epochs=None)
    compressor, store = load_compressor(model), open_store(SceneFolder(scene_folder), "mini_dense")
    codes = np.load(model.codes("view_05"))
    assert codes.shape == (7, 10, 8) and codes.dtype == np.float16
    grid = torch.from_numpy(store.embeddings("view_05")).float()
    np.testing.assert_allclose(codes, compressor.encode(grid).numpy(), atol=4e-3)  # codes of up to 4 in half precision
    report = read_json(model.autoencoder / "stage.json")["report"]
    assert report["validation"]["mean"] > 0.99  # seven embeddings mixed span six centred directions


def test_defaults_are_the_published_recipes(scene_folder, tmp_path):
    unset = {"epochs": None, "batch_size": None, "lr": None}
    for features, share, expected in (
        ("mini", 0.95, {"lr": 7e-4, "batch_size": 64, "epochs": 100, "cosine_axis": "feature", "cosine_weight": 1e-3}),
        ("mini_dense", 0.2, {"lr": 1e-3, "batch_size": 1024, "epochs": 100, "schedule": "constant"}),
    ):
        config = read_json(_run(scene_folder, tmp_path / features, features=features, **unset).autoencoder / "stage.json")[
            "config"
        ]
        assert config["train_share"] == share and {name: config["recipe"][name] for name in expected} == expected


def test_embeddings_held_out_are_not_fitted(scene_folder):
    store = open_store(SceneFolder(scene_folder), "mini_dense")
    embeddings, keys = Embeddings(store, 0.2, 0, torch.device("cpu")), store.keys()
    fitted, held_out = (Rows.joined(list(embeddings)).embeddings, embeddings.held_out_sample().embeddings)
    assert len(fitted) == round(0.2 * 70 * NUM_VIEWS) and len(held_out) == 70 * NUM_VIEWS - len(fitted)
    everything = torch.cat([torch.from_numpy(store.embeddings(key).reshape(70, -1)).float() for key in keys])
    everything = torch.nn.functional.normalize(everything, dim=1)
    together = torch.cat([fitted, held_out])
    assert torch.equal(together.sum(1).sort().values, everything.sum(1).sort().values)


def test_a_stopped_run_continues_to_the_same_codes(scene_folder, tmp_path, monkeypatch):
    whole = _run(scene_folder, tmp_path / "whole", epochs=6)
    cosines = fitting.reconstruction_cosines
    seen = []

    def interrupting(*args):
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return cosines(*args)

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "reconstruction_cosines", interrupting)
        with pytest.raises(KeyboardInterrupt):
            _run(scene_folder, tmp_path / "parts", epochs=6)
    parts = ModelFolder(tmp_path / "parts")
    with pytest.raises(InputError, match="did not finish"):
        load_compressor(parts)
    assert [path.name for path in parts.checkpoints.iterdir()] == ["autoencoder_published_000003.pth"]
    _run(scene_folder, tmp_path / "parts", epochs=6)
    assert not list(parts.checkpoints.iterdir())
    assert parts.codes("view_03").read_bytes() == whole.codes("view_03").read_bytes()


def test_repeating_the_command_writes_only_what_is_missing(scene_folder, tmp_path):
    model = _run(scene_folder, tmp_path / "m")
    kept, fitted = model.codes("view_01").stat().st_mtime_ns, model.compressor.stat().st_mtime_ns
    lost = model.codes("view_02").read_bytes()
    model.codes("view_02").unlink()
    _run(scene_folder, tmp_path / "m")
    assert model.codes("view_02").read_bytes() == lost
    assert (model.codes("view_01").stat().st_mtime_ns, model.compressor.stat().st_mtime_ns) == (kept, fitted)
    with pytest.raises(InputError, match=r"code_width: 3 on disk, 4 now[\s\S]*--overwrite"):
        _run(scene_folder, tmp_path / "m", code_width=4)


def test_a_given_checkpoint_is_used_as_it_is(scene_folder, tmp_path):
    network = Autoencoder(*published_widths(FEATURE_WIDTH, 3)).eval()
    write_compressor(tmp_path / "best_ckpt.pth", network)
    model = _run(scene_folder, tmp_path / "m", checkpoint=tmp_path / "best_ckpt.pth")
    embeddings = torch.from_numpy(open_store(SceneFolder(scene_folder), "mini").embeddings("view_01"))
    torch.testing.assert_close(torch.from_numpy(np.load(model.codes("view_01"))), network.encode(embeddings).detach())
    write_compressor(tmp_path / "wide.pth", Autoencoder(*published_widths(512, 3)))
    with pytest.raises(InputError, match=rf"wide.pth compresses features 512 wide; those of .* are {FEATURE_WIDTH}"):
        _run(scene_folder, tmp_path / "other", checkpoint=tmp_path / "wide.pth")


def _long_tokens(folder, tmp_path):
    """The scene with patch tokens of lengths around 45, as DINOv2's are, which differ by a factor of three."""
    shutil.copytree(folder, tmp_path / "scene")
    store = open_store(SceneFolder(tmp_path / "scene"), "mini_dense")
    generator = np.random.default_rng(0)
    for key in store.keys():
        tokens = store.embeddings(key).astype(np.float32)
        lengths = generator.uniform(22, 66, (*tokens.shape[:2], 1)) / np.linalg.norm(tokens, axis=-1, keepdims=True)
        store.write(key, PatchGrid((tokens * lengths).astype(np.float16)))
    return tmp_path / "scene", store


def _written_cosines(model, store):
    compressor = load_compressor(model)
    found = []
    for key in store.keys():
        tokens = torch.from_numpy(store.embeddings(key)).float()
        decoded = compressor.decode(torch.from_numpy(np.load(model.codes(key))).float())
        found.append(torch.nn.functional.cosine_similarity(decoded, tokens, dim=-1).flatten())
    return torch.cat(found)


def test_the_report_measures_the_codes_that_were_written_for_tokens_of_any_length(scene_folder, tmp_path):
    folder, store = _long_tokens(scene_folder, tmp_path)
    for method, tolerance in (("autoencoder", 0.01), ("pca", 0.01)):  # the report leaves the fitted fifth out
        model = _run(folder, tmp_path / method, features="mini_dense", method=method, epochs=10, lr=3e-3, batch_size=16)
        report = read_json(model.autoencoder / "stage.json")["report"]
        written = _written_cosines(model, store)
        assert written.mean().item() == pytest.approx(report["validation"]["mean"], abs=tolerance)
        assert torch.quantile(written, 0.05).item() == pytest.approx(report["validation"]["percentile_5"], abs=3 * tolerance)
        assert report["tokens"] == "unit"


def test_dense_features_have_the_network_without_batch_norm(scene_folder, tmp_path):
    model = _run(scene_folder, tmp_path / "m", features="mini_dense", epochs=1)
    assert read_json(model.autoencoder / "stage.json")["config"]["batch_norm"] is False
    assert not any("running" in name for name in load_compressor(model).state_dict())


def test_tokens_are_encoded_as_the_given_network_expects_them(scene_folder, tmp_path):
    folder, store = _long_tokens(scene_folder, tmp_path)
    torch.manual_seed(0)
    network = Autoencoder(*published_widths(FEATURE_WIDTH, 3), batch_norm=False).eval()
    write_compressor(tmp_path / "best_ckpt.pth", network)
    tokens = torch.from_numpy(store.embeddings("view_01")).float()
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    dinosplat = {"features": "mini_dense", "checkpoint": tmp_path / "best_ckpt.pth"}
    for changes, expected, recorded in (({}, tokens, "raw"), ({"checkpoint_tokens": "unit"}, unit, "unit")):
        model = _run(folder, tmp_path / recorded, **dinosplat, **changes)
        codes = torch.from_numpy(np.load(model.codes("view_01"))).float()
        torch.testing.assert_close(codes, network.encode(expected).detach(), atol=1e-3, rtol=0)  # kept in half precision
        record = read_json(model.autoencoder / "stage.json")
        assert (record["report"]["tokens"], record["config"]["tokens"]) == (recorded, recorded)
        cosines = _written_cosines(model, store)
        assert cosines.mean().item() == pytest.approx(record["report"]["validation"]["mean"], abs=0.01)
    ours = _run(folder, tmp_path / "fitted", features="mini_dense", epochs=1)
    again = _run(folder, tmp_path / "again", features="mini_dense", checkpoint=ours.compressor)
    assert again.codes("view_01").read_bytes() == ours.codes("view_01").read_bytes()


def test_wrong_settings_and_features_are_refused(scene_folder, tmp_path):
    with pytest.raises(InputError, match="has both language_features and dino_features"):
        _run(scene_folder, tmp_path / "m", features=None)
    with pytest.raises(InputError, match=f"--code_width 30: 30 components of embeddings with {FEATURE_WIDTH} entries"):
        _run(scene_folder, tmp_path / "m", method="pca", code_width=30)
    with pytest.raises(InputError, match=f"--code_width 30: .* only {FEATURE_WIDTH} wide"):
        _run(scene_folder, tmp_path / "wide", code_width=30)
    with pytest.raises(InputError, match="--batch_size 1"):
        _run(scene_folder, tmp_path / "m", batch_size=1)
    with pytest.raises(InputError, match="No file .*nowhere.pth"):
        _run(scene_folder, tmp_path / "m", checkpoint=tmp_path / "nowhere.pth")
    shutil.copytree(scene_folder, tmp_path / "scene")
    store = open_store(SceneFolder(tmp_path / "scene"), "mini")
    segments = store.read("view_04")
    store.write("view_04", Segments(np.ascontiguousarray(segments.embeddings[:, :20]), segments.maps))
    with pytest.raises(InputError, match=rf"'view_04' has features 20 wide, 'view_00' {FEATURE_WIDTH} wide"):
        _run(tmp_path / "scene", tmp_path / "mixed")
