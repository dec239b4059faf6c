"""RGB training over a small generated scene: results, resume, refusals."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from gaussian_renderer import render
from gaussian_renderer.trained_model import load_trained
from scene.camera import Camera
from scene.gaussian_files import load_ply, save_ply
from scene.gaussian_model import GaussianModel
from training import rgb_trainer
from training.checkpoints import load_checkpoint
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder

WIDTH, HEIGHT, NUM_VIEWS = 40, 28, 13


def _camera(index):
    """On a half circle of radius 4 around the origin, looking at it."""
    angle = math.pi * index / NUM_VIEWS
    center = np.array([4 * math.cos(angle), -0.5, 4 * math.sin(angle)])
    forward = -center / np.linalg.norm(center)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = rotation, -rotation @ center
    return Camera(f"view_{index:02d}", world_to_camera, 36.0, 36.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    """Photographs of forty coloured Gaussians, with a nerfstudio file of the cameras and noisy points."""
    root = tmp_path_factory.mktemp("scene")
    generator = torch.Generator().manual_seed(1)
    points = (torch.rand(40, 3, generator=generator) - 0.5) * 2.4
    colors = torch.rand(40, 3, generator=generator)
    world = GaussianModel.from_points(points, colors * 255)
    world.log_scales[:] = math.log(0.18)
    world.opacity_logits[:] = 3.0
    (root / "images").mkdir()
    frames = []
    for index in range(NUM_VIEWS):
        camera = _camera(index)
        image = render(camera, world, torch.zeros(3)).image.clamp(0, 1).permute(1, 2, 0).numpy()
        Image.fromarray((image * 255 + 0.5).astype(np.uint8)).save(root / "images" / f"{camera.name}.png")
        pose = np.linalg.inv(camera.world_to_camera) @ np.diag([1.0, -1, -1, 1])
        frames.append({"file_path": f"images/{camera.name}.png", "transform_matrix": pose.tolist()})
    noisy = points + 0.05 * torch.randn(40, 3, generator=generator)
    save_points(root / "points.ply", noisy, (colors * 255).byte())
    shape = {"fl_x": 36, "fl_y": 36, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT, "camera_model": "OPENCV"}
    text = json.dumps({**shape, "ply_file_path": "points.ply", "frames": frames})
    (root / "transforms.json").write_text(text)
    return root


def save_points(path, xyz, rgb):
    rows = [f"{x} {y} {z} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(xyz.tolist(), rgb.tolist(), strict=True)]
    properties = [f"property float {name}" for name in "xyz"] + [f"property uchar {name}" for name in ("red", "green", "blue")]
    path.write_text("\n".join(["ply", "format ascii 1.0", f"element vertex {len(rows)}", *properties, "end_header", *rows, ""]))


def _config(scene_folder, model, **changes):
    settings = {"eval": True, "preset": "fast", "iterations": 150, "device": "cpu", "checkpoint_interval": 0, **changes}
    return RgbTrainConfig(source_path=scene_folder, model_path=model, **settings)


def test_training_reproduces_held_out_views_and_leaves_what_the_contract_names(scene_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    train_rgb(_config(scene_folder, tmp_path / "m", save_iterations=(50,), test_iterations=(50,)))
    model = ModelFolder(tmp_path / "m")
    metrics = json.loads(model.rgb_metrics.read_text())
    assert sorted(metrics["views"]["test"]) == ["view_00", "view_08"]
    assert metrics["mean"]["test"]["psnr"] > 22  # 13 dB before training; view_00 stands outside the others
    assert metrics["mean"]["train"]["psnr"] > 27
    assert "test mean of 2" in caplog.text
    trained = load_trained(model)
    assert trained.iteration == 150 and len(trained.gaussians) == metrics["gaussians"]
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
    _interrupted_at(scene_folder, tmp_path / "parts", 77, monkeypatch)
    parts = ModelFolder(tmp_path / "parts")
    assert load_checkpoint(parts, "rgb")["iteration"] == 77
    with pytest.raises(InputError, match="did not finish"):
        load_trained(parts)
    train_rgb(_config(scene_folder, tmp_path / "parts"))
    whole = ModelFolder(tmp_path / "whole").point_cloud(150).read_bytes()
    assert parts.point_cloud(150).read_bytes() == whole


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


def test_a_diverged_run_says_so_and_keeps_no_broken_checkpoint(scene_folder, tmp_path):
    train_rgb(_config(scene_folder, tmp_path / "first", iterations=10))
    gaussians = load_ply(ModelFolder(tmp_path / "first").point_cloud(10))
    gaussians.sh_dc *= 1e38
    save_ply(tmp_path / "broken.ply", gaussians)
    with pytest.raises(InputError, match=r"The loss is (nan|inf) at iteration 1:"):
        train_rgb(_config(scene_folder, tmp_path / "m", start_checkpoint=tmp_path / "broken.ply", checkpoint_interval=1))
    assert not list(ModelFolder(tmp_path / "m").checkpoints.glob("*"))
