"""RGB training over a small generated scene: results, resume, refusals."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from numpy.lib.recfunctions import append_fields
from PIL import Image
from small_scene import write_small_scene

from gaussian_renderer.trained_model import load_trained
from scene.gaussian_files import load_ply, save_ply
from scene.ply import read_vertices, write_vertices
from training import rgb_trainer
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder
from workspace.resume import load_checkpoint


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return write_small_scene(tmp_path_factory.mktemp("scene"))


def _config(scene_folder, model, **changes):
    settings = {"eval": True, "preset": "fast", "iterations": 400, "device": "cpu", "checkpoint_interval": 0, **changes}
    return RgbTrainConfig(source_path=scene_folder, model_path=model, **settings)


def test_training_reproduces_held_out_views_and_leaves_what_the_contract_names(scene_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    train_rgb(_config(scene_folder, tmp_path / "m", save_iterations=(50,), test_iterations=(50,)))
    model = ModelFolder(tmp_path / "m")
    metrics = json.loads(model.rgb_metrics.read_text())
    assert sorted(metrics["views"]["test"]) == ["view_00", "view_08"]
    assert metrics["mean"]["test"]["psnr"] > 21  # 16 dB after 50 iterations; view_00 stands outside the others
    assert metrics["mean"]["train"]["psnr"] > 24
    assert "test mean of 2" in caplog.text
    trained = load_trained(model)
    assert trained.iteration == 400 and len(trained.gaussians) == metrics["gaussians"]
    assert len(load_ply(model.point_cloud(50))) > 0
    assert [camera.name for camera in trained.scene().test] == ["view_00", "view_08"]
    assert not list(model.checkpoints.glob("*.pth"))  # nothing left to resume


def _interrupted_at(scene_folder, model, iteration, monkeypatch, **changes):
    """Run until Ctrl-C arrives during `iteration`."""
    step = rgb_trainer._Trainer.step

    def step_with_signal(trainer, number, *args):
        if number == iteration:
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, number, *args)

    with monkeypatch.context() as patch:
        patch.setattr(rgb_trainer._Trainer, "step", step_with_signal)
        with pytest.raises(KeyboardInterrupt):
            train_rgb(_config(scene_folder, model, **changes))


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(scene_folder, tmp_path, monkeypatch):
    """The stop falls in the middle of an epoch and of a densification interval, with statistics collected."""
    train_rgb(_config(scene_folder, tmp_path / "whole"))
    _interrupted_at(scene_folder, tmp_path / "parts", 127, monkeypatch)
    parts = ModelFolder(tmp_path / "parts")
    assert load_checkpoint(parts, "rgb")["iteration"] == 127
    with pytest.raises(InputError, match="did not finish"):
        load_trained(parts)
    train_rgb(_config(scene_folder, tmp_path / "parts"))
    whole = ModelFolder(tmp_path / "whole").point_cloud(400).read_bytes()
    assert parts.point_cloud(400).read_bytes() == whole


def test_the_newest_periodic_checkpoint_is_kept(scene_folder, tmp_path, monkeypatch):
    _interrupted_at(scene_folder, tmp_path / "m", 25, monkeypatch, checkpoint_interval=10)
    assert [path.name for path in ModelFolder(tmp_path / "m").checkpoints.iterdir()] == ["rgb_000025.pth"]


def test_repeating_the_command_changes_nothing_and_other_settings_are_refused(scene_folder, tmp_path):
    train_rgb(_config(scene_folder, tmp_path / "m", iterations=10))
    ply = ModelFolder(tmp_path / "m").point_cloud(10)
    before = ply.stat().st_mtime_ns
    train_rgb(_config(scene_folder, tmp_path / "m", iterations=10))
    assert ply.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"seed: 0 on disk, 5 now[\s\S]*--overwrite"):
        train_rgb(_config(scene_folder, tmp_path / "m", iterations=10, seed=5))
    train_rgb(_config(scene_folder, tmp_path / "m", iterations=10, seed=5, overwrite=True))
    assert ply.stat().st_mtime_ns != before


def test_starting_from_a_ply_keeps_its_gaussians(scene_folder, tmp_path):
    train_rgb(_config(scene_folder, tmp_path / "first", iterations=60))
    ply = ModelFolder(tmp_path / "first").point_cloud(60)
    train_rgb(_config(scene_folder, tmp_path / "second", iterations=0, start_checkpoint=ply))
    taken_over = ModelFolder(tmp_path / "second").point_cloud(0)
    assert taken_over.read_bytes() == ply.read_bytes()


def test_training_on_from_a_ply_names_the_properties_it_leaves_out(scene_folder, tmp_path, caplog):
    train_rgb(_config(scene_folder, tmp_path / "first", iterations=5))
    vertices = read_vertices(ModelFolder(tmp_path / "first").point_cloud(5))
    write_vertices(tmp_path / "theirs.ply", append_fields(vertices, "filter_3D", np.ones(len(vertices)), usemask=False))
    train_rgb(_config(scene_folder, tmp_path / "as_it_is", iterations=0, start_checkpoint=tmp_path / "theirs.ply"))
    assert "left out" not in caplog.text and "the 3D filter of Mip-Splatting is not applied" in caplog.text
    train_rgb(_config(scene_folder, tmp_path / "on", iterations=5, start_checkpoint=tmp_path / "theirs.ply"))
    assert "theirs.ply: filter_3D not trained and left out; --iterations 0 keeps every property." in caplog.text
    assert "filter_3D" not in read_vertices(ModelFolder(tmp_path / "on").point_cloud(5)).dtype.names


def test_a_diverged_run_says_so_and_keeps_no_broken_checkpoint(scene_folder, tmp_path):
    train_rgb(_config(scene_folder, tmp_path / "first", iterations=10))
    gaussians = load_ply(ModelFolder(tmp_path / "first").point_cloud(10))
    gaussians.sh_dc *= 1e38
    save_ply(tmp_path / "broken.ply", gaussians)
    with pytest.raises(InputError, match=r"The loss is (nan|inf) at iteration 1:"):
        train_rgb(_config(scene_folder, tmp_path / "m", start_checkpoint=tmp_path / "broken.ply", checkpoint_interval=1))
    assert not list(ModelFolder(tmp_path / "m").checkpoints.glob("*"))


@pytest.mark.parametrize(
    "wrong", [{"iterations": -5}, {"position_lr_init": -1.0}, {"checkpoint_interval": -1}, {"lambda_dssim": 1.5}]
)
def test_settings_without_a_meaning_are_refused_and_leave_nothing(wrong, tmp_path):
    with pytest.raises(InputError, match=f"--{next(iter(wrong))} "):
        train_rgb(RgbTrainConfig(source_path=tmp_path / "scene", model_path=tmp_path / "model", **wrong))
    assert not (tmp_path / "model").exists()


def test_a_replaced_photograph_is_noticed_by_name_and_a_copied_one_is_not(scene_folder, tmp_path):
    scene = tmp_path / "scene"
    shutil.copytree(scene_folder, scene)
    train_rgb(_config(scene, tmp_path / "m", iterations=5))
    photograph = scene / "images" / "view_03.png"
    photograph.touch()  # another time, the same picture
    train_rgb(_config(scene, tmp_path / "m", iterations=5))
    pixels = np.asarray(Image.open(photograph))
    Image.fromarray(255 - pixels).save(photograph)
    with pytest.raises(InputError) as error:
        train_rgb(_config(scene, tmp_path / "m", iterations=5))
    text = str(error.value)
    assert "was made from other inputs" in text and "view_03" in text and "view_04" not in text and "--overwrite" in text
    train_rgb(_config(scene, tmp_path / "m", iterations=5, overwrite=True))
