"""The language field over a small scene: levels, resume, what is refused, and what the numbers should be."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from small_features import write_small_grids, write_small_segments
from small_scene import HEIGHT, WIDTH, write_small_scene

from autoencoder.config import AutoencoderConfig
from autoencoder.network import Autoencoder, published_widths
from autoencoder.stage import train_autoencoder
from autoencoder.unit_codes import unit_codes
from features.registry import open_store
from features.segment_store import Segments
from features.targets import SegmentTarget
from gaussian_renderer import prepare_view
from gaussian_renderer.trained_model import load_trained
from training import language_trainer
from training.language import LanguageTrainConfig, train_language
from training.language_codes import lifted_codes
from training.language_targets import residual
from training.language_views import PreparedViews
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder, SceneFolder
from workspace.record_types import LanguageRecord
from workspace.resume import load_checkpoint
from workspace.stage_record import read_record, require


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Scene and model folder up to the codes, made once and copied."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "scene").mkdir()
    write_small_segments(write_small_scene(root / "scene"))
    train_rgb(RgbTrainConfig(root / "scene", root / "model", eval=True, preset="fast", iterations=100, device="cpu"))
    train_autoencoder(AutoencoderConfig(root / "scene", root / "model", epochs=40, batch_size=16, lr=3e-3, device="cpu"))
    return root


@pytest.fixture
def place(prepared, tmp_path):
    """A copy of the prepared folders to change."""
    shutil.copytree(prepared, tmp_path / "place")
    return tmp_path / "place"


def _train(place, **changes):
    settings = {"source_path": place / "scene", "iterations": 60, "device": "cpu", "checkpoint_interval": 0, **changes}
    train_language(LanguageTrainConfig(model_path=place / "model", **settings))
    return ModelFolder(place / "model").reading(changes.get("field"))


def _report(model):
    return require(model.language, LanguageRecord, "-").report


def test_lifted_codes_show_the_photographs_codes_in_held_out_views(place, caplog):
    caplog.set_level("INFO")
    model = _train(place, init="lift", iterations=100)
    record = require(model.language, LanguageRecord, "-")
    assert record.config.levels == ("s", "m", "l")
    assert record.inputs.geometry == load_trained(model).gaussians.geometry_hash()
    for level, least in (("s", 0.85), ("m", 0.6), ("l", 0.9)):  # about 0 for unrelated codes; m has most borders of unlike codes
        codes = np.load(model.level_codes(level))
        assert codes.shape == (len(load_trained(model).gaussians), 3) and codes.dtype == np.float32
        assert record.report.held_out[level].cosine > least
    assert "held-out" in caplog.text
    assert not list(model.checkpoints.glob("language_*"))


def test_from_zero_the_loss_falls(place):
    first, last = (_report(_train(place, iterations=n, overwrite=True)).train for n in (0, 60))
    for level in ("s", "m", "l"):
        assert first[level].cosine == 0 and last[level].cosine > 0.3
        assert last[level].l1 < 0.8 * first[level].l1


@pytest.mark.parametrize("init", ["zero", "lift"])
def test_levels_trained_together_are_levels_trained_alone(place, init):
    """Channels are blended independently, Adam is elementwise, and each level's gradient is its own mean."""
    model = _train(place, init=init)
    together = {level: np.load(model.level_codes(level)) for level in ("s", "m", "l")}
    for number, level in enumerate(("s", "m", "l"), start=1):
        _train(place, init=init, feature_level=number, overwrite=True)
        assert require(model.language, LanguageRecord, "-").config.levels == (level,)
        # what is left is the last bit: the rasterizer sums eight channels at a time and a ninth in another order
        np.testing.assert_allclose(np.load(model.level_codes(level)), together[level], rtol=1e-4, atol=1e-6)


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(place, monkeypatch):
    model = _train(place, init="lift")
    whole = {level: model.level_codes(level).read_bytes() for level in ("s", "m", "l")}
    shutil.rmtree(model.language)
    step = language_trainer.LanguageTrainer.step

    def step_with_signal(trainer, **kwargs):
        if trainer.iteration == 36:  # in the middle of a pass over the eleven views
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(language_trainer.LanguageTrainer, "step", step_with_signal)
        with pytest.raises(KeyboardInterrupt):
            _train(place, init="lift")
    assert load_checkpoint(model, "language")["iteration"] == 37
    assert not read_record(model.language, LanguageRecord, "-").complete
    _train(place, init="lift")
    assert {level: model.level_codes(level).read_bytes() for level in whole} == whole


def test_repeating_the_command_changes_nothing_and_other_settings_are_refused(place):
    model = _train(place, iterations=3)
    before = model.level_codes("s").stat().st_mtime_ns
    _train(place, iterations=3)
    assert model.level_codes("s").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"seed: 0 on disk, 1 now[\s\S]*--overwrite"):
        _train(place, iterations=3, seed=1)


def test_no_memory_for_views_gives_the_same_field(place):
    model = _train(place)
    kept = model.level_codes("m").read_bytes()
    _train(place, view_cache_gb=0.0, overwrite=True)
    assert model.level_codes("m").read_bytes() == kept


def test_one_step_is_the_published_loss_and_normalisation(place):
    """Against the loss written with automatic differentiation: mean over all pixels, those without a segment count as 0."""
    model = ModelFolder(place / "model")
    trained = load_trained(model)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(len(trained.gaussians), 6, generator=generator, requires_grad=True)
    ids = torch.randint(0, 6, (2, HEIGHT, WIDTH), generator=generator).short()
    target = SegmentTarget(ids, torch.cat([torch.randn(3, 5, generator=generator), torch.zeros(3, 1)], 1), False)
    view = prepare_view(trained.scene().train[0], trained.gaussians)

    image = view.rasterize(torch.cat([c / (c.norm(dim=-1, keepdim=True) + 1e-9) for c in codes.split(3, 1)], 1)).image
    labelled = (ids < 5)[:, None].float()
    losses = ((image.unflatten(0, (2, 3)) - target.table.T[ids.long()].permute(0, 3, 1, 2)) * labelled).abs().mean((1, 2, 3))
    (expected,) = torch.autograd.grad(losses.sum(), codes)

    image = view.rasterize(unit_codes(codes, 3)).image
    difference = residual(target, image.detach().clone())
    assert difference.abs().mean().item() == pytest.approx(losses.mean().item(), rel=1e-5)
    image.backward(difference.sign() / (3 * HEIGHT * WIDTH))
    torch.testing.assert_close(codes.grad, expected, rtol=1e-4, atol=1e-9)  # float32 sums over 1,120 pixels in another order


def test_zero_codes_stay_zero_when_unseen_and_have_finite_gradients():
    codes = torch.zeros(4, 3, requires_grad=True)
    unit_codes(codes, 3).backward(torch.tensor([[0.0, 0, 0], [1, 2, 3], [0, 0, 0], [0, 0, 1]]))
    # the published expression at zero: the derivative of the norm is taken as zero, which leaves grad / 1e-9
    assert codes.grad.isfinite().all() and (codes.grad[0] == 0).all()
    torch.testing.assert_close(codes.grad[1], torch.tensor([1e9, 2e9, 3e9]))


def test_lifting_returns_the_codes_a_view_was_made_of(place):
    """Two codes that separate the Gaussians by depth side: every Gaussian gets back the mean of what shows at its pixels."""
    trained = load_trained(ModelFolder(place / "model"))
    cameras = trained.scene().train
    views = PreparedViews(cameras, trained.gaussians, 1e9)
    ids = [torch.where(view.alpha > 0.5, 0, 1)[None].short() for view in views]
    targets = [SegmentTarget(i, torch.tensor([[0.6, 0.0], [0.8, 0.0], [0.0, 0.0]]), False) for i in ids]
    codes = lifted_codes(views, targets, len(trained.gaussians), 1, Autoencoder(*published_widths(8, 3)))
    seen = codes.norm(dim=1) > 0
    assert seen.float().mean() > 0.8
    expected = torch.tensor([0.6, 0.8, 0.0]).expand(int(seen.sum()), 3)
    torch.testing.assert_close(codes[seen], expected, rtol=0, atol=1e-5)  # one code in the scene, so one after normalisation


def test_what_prepared_views_leave_of_their_budget_goes_to_blending_weights(place):
    trained = load_trained(ModelFolder(place / "model"))
    cameras = trained.scene().train
    codes = torch.zeros(len(trained.gaussians), 3, requires_grad=True)

    def kept(budget: float) -> list[int]:
        views = PreparedViews(cameras, trained.gaussians, budget)
        for view in 2 * list(views):  # weights are kept from the second pass on
            view.rasterize(codes).image.sum().backward()
        return [view.kept_nbytes for view in views]

    assert all(size > 0 for size in kept(1e9))
    views_alone = 1.0 * sum(view.nbytes for view in PreparedViews(cameras, trained.gaussians, 1e9))
    assert kept(views_alone) == [0] * len(cameras)
    one_more = views_alone + max(kept(1e9))
    assert 0 < sum(kept(one_more)) <= max(kept(1e9))


def test_patch_features_give_one_level_of_any_width(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "place")
    place = tmp_path / "place"
    write_small_grids(place / "scene")
    train_autoencoder(
        AutoencoderConfig(place / "scene", place / "model", features="mini_dense", method="pca", code_width=5, device="cpu")
    )
    model = _train(place, init="lift", field="pca")
    assert np.load(model.level_codes("grid")).shape[1] == 5
    # about 0 for unrelated codes; centred codes of near-equal patches point anywhere, and the background has no Gaussians
    assert _report(model).held_out["grid"].cosine > 0.3
    with pytest.raises(InputError, match="mini_dense features have one level"):
        _train(place, feature_level=1, field="pca")


def test_maps_smaller_than_the_photographs_are_rendered_at_their_size(place):
    store = open_store(SceneFolder(place / "scene"))
    for key in store.keys():
        segments = store.read(key)
        store.write(key, Segments(segments.embeddings, np.ascontiguousarray(segments.maps[:, ::2, ::2])))
    assert _report(_train(place, init="lift", iterations=20)).held_out["s"].cosine > 0.8


def test_maps_of_another_picture_are_refused(place):
    store = open_store(SceneFolder(place / "scene"))
    segments = store.read("view_03")
    store.write("view_03", Segments(segments.embeddings, np.ascontiguousarray(segments.maps[:, :, :20])))
    with pytest.raises(InputError, match=rf"view_03' are 20x{HEIGHT} pixels, its camera {WIDTH}x{HEIGHT}"):
        _train(place)


def test_codes_of_other_segments_are_refused(place):
    store = open_store(SceneFolder(place / "scene"))
    segments = store.read("view_03")
    store.write("view_03", Segments(np.concatenate([segments.embeddings, segments.embeddings]), segments.maps))
    with pytest.raises(InputError, match=r"has shape \(17, 3\); expected \(34, 3\)[\s\S]*train_autoencoder.py"):
        _train(place)


def test_codes_of_an_image_are_missing(place):
    ModelFolder(place / "model").codes("view_03").unlink()
    with pytest.raises(InputError, match="No codes for image 'view_03' .* Run: python train_autoencoder.py -s"):
        _train(place)


def test_features_of_another_extractor_are_refused(place):
    record = place / "scene" / "language_features" / "stage.json"
    found = json.loads(record.read_text())
    found["config"]["clip_model"] = "ViT-L-14"
    record.write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"made with features mini;[\s\S]*has .*ViT-L-14"):
        _train(place)


def test_codes_trained_on_other_gaussians_are_refused(place):
    _train(place, iterations=2)
    settings = {"eval": True, "preset": "fast", "iterations": 60, "device": "cpu", "overwrite": True}
    train_rgb(RgbTrainConfig(place / "scene", place / "model", **settings))
    with pytest.raises(InputError, match="inputs.geometry: another one now"):
        _train(place, iterations=2)


def test_nothing_to_train_on_names_the_command(place):
    shutil.rmtree(place / "model" / "autoencoder")
    with pytest.raises(InputError, match="python train_autoencoder.py -s"):
        _train(place)


def _replace_photograph(scene, name):
    path = scene / "images" / f"{name}.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


def test_gaussians_of_replaced_photographs_are_refused_unless_another_folder_is_named(place):
    train_rgb(RgbTrainConfig(place / "scene", place / "model", preset="fast", iterations=5, device="cpu", overwrite=True))
    shutil.copytree(place / "scene", place / "blurred")
    _replace_photograph(place / "blurred", "view_02")
    _train(place, source_path=place / "blurred", iterations=0)
    _replace_photograph(place / "scene", "view_02")
    with pytest.raises(
        InputError, match=r"1 photographs of .* were replaced .* trained: view_02. .*python train.py .*--overwrite"
    ):
        _train(place, iterations=0)


@pytest.mark.parametrize("wrong", [{"iterations": -1}, {"checkpoint_interval": -1}, {"language_feature_lr": 0.0}])
def test_settings_without_a_meaning_are_refused(wrong, tmp_path):
    with pytest.raises(InputError, match=f"--{next(iter(wrong))} "):
        train_language(LanguageTrainConfig(model_path=tmp_path, **wrong))
