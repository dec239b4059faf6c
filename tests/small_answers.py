"""A model folder whose answers are known: four balls, each with its own code, over photographs and labels of them."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from autoencoder.codebook import Codebook, principal_directions
from autoencoder.kinds import write_compressor
from autoencoder.mixtures import pack
from autoencoder.pca import PCA
from evaluation.stage import QueryConfig, eval_query
from gaussian_renderer import render
from query import open_model
from query.open_model import OpenModel
from scene.camera import Camera
from scene.gaussian_files import save_ply
from scene.gaussian_model import GaussianModel
from toy_world.labels import lerf_label
from workspace import ModelFolder, read_json, save_array, write_json
from workspace.record_types import CompressorRecord, LanguageRecord, RgbRecord
from workspace.stage_record import stage

WIDTH, HEIGHT, FOCAL, NUM_VIEWS, FEATURE_WIDTH = 160, 120, 150.0, 9, 12
BALLS = ("red ball", "grüner Ball", "ball's twin", "青い玉")
COLORS = ((0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.8, 0.8, 0.1), (0.1, 0.2, 0.9))
CENTERS = ((-1.2, -0.8, 0.0), (1.2, -0.8, 0.2), (-1.2, 0.8, 0.1), (1.2, 0.8, -0.1))


def embeddings():
    """Unit rows of the balls, then of the negatives."""
    rows = torch.linalg.qr(torch.randn(FEATURE_WIDTH, FEATURE_WIDTH, generator=torch.Generator().manual_seed(5)))[0]
    return rows[:4], rows[4:6]


class Words:
    """A text encoder that knows the balls."""

    negatives = ("object", "things")
    temperature = 10.0
    width = FEATURE_WIDTH

    def embed(self, phrases):
        balls, negatives = embeddings()
        known = dict(zip(BALLS + self.negatives, torch.cat([balls, negatives]), strict=True))
        unknown = embeddings()[1].sum(0) / math.sqrt(2)
        return torch.stack([known.get(phrase, unknown) for phrase in phrases])


def ask(model: ModelFolder, **settings: object) -> dict:
    """The metrics of `eval_query.py` with these settings."""
    eval_query(QueryConfig(model_path=(model.root,), device="cpu", **settings))
    return read_json(model.metrics)


def open_with_words(written: ModelFolder) -> OpenModel:
    """The written model opened for questions, with `Words` as its text encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("query.session.text_encoder", lambda *_: Words())
        model = open_model(written.root, written.field, device="cpu")
        model.session.memory  # noqa: B018 - loads the encoder while it is replaced
    return model


def _camera(index):
    center = np.array([0.15 * (index - 4), 0.0, -5.0])
    world_to_camera = np.eye(4)
    world_to_camera[:3, 3] = -center
    return Camera(f"views/frame_{index:05d}", world_to_camera, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


def _world():
    world = GaussianModel.from_points(np.array(CENTERS, np.float32), (np.array(COLORS) * 255).astype(np.uint8))
    world.log_scales[:] = math.log(0.3)
    world.opacity_logits[:] = 6.0
    return world


def write_scene(root: Path) -> Path:
    """images/, transforms.json, label/ (LERF-OVS) and segmentations/ (3D-OVS) of every third view."""
    world = _world()
    frames = []
    for index in range(NUM_VIEWS):
        camera = _camera(index)
        pixels = render(camera, world, torch.zeros(3)).image.clamp(0, 1).permute(1, 2, 0).numpy()
        picture = root / "images" / f"{camera.name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).save(picture)
        pose = np.linalg.inv(camera.world_to_camera) @ np.diag([1.0, -1, -1, 1])
        frames.append({"file_path": f"images/{camera.name}.png", "transform_matrix": pose.tolist()})
        if index % 3 == 0:
            _write_truth(root, camera, render(camera, world, None, torch.eye(4)).image.numpy() > 0.25)
    shape = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT, "camera_model": "OPENCV"}
    (root / "transforms.json").write_text(json.dumps({**shape, "frames": frames}))
    (root / "segmentations" / "classes.txt").write_text("\n".join(BALLS), encoding="utf-8")
    return root


def _write_truth(root, camera, masks):
    stem = camera.name.split("/")[-1]
    present = {ball: mask for ball, mask in zip(BALLS, masks, strict=True) if stem != "frame_00003" or ball != "red ball"}
    write_json(root / "label" / f"{stem}.json", lerf_label(f"{stem}.jpg", present))
    folder = root / "segmentations" / stem
    folder.mkdir(parents=True)
    for ball, mask in present.items():
        halved = cv2.resize(mask.astype(np.uint8) * 255, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST)
        (folder / f"{ball}.png").write_bytes(cv2.imencode(".png", halved)[1].tobytes())


def write_model(root: Path, scene: Path, noise: float = 0.0, field: str = "published") -> ModelFolder:
    """A trained model folder: level s tells all balls apart, m the rows, l none."""
    model, world, (balls, negatives) = ModelFolder(root, field), _world(), embeddings()
    settings = {"source_path": str(scene), "images": "images", "resolution": -1, "eval": True, "white_background": False}
    with stage(model.point_clouds, RgbRecord, settings, {}):
        save_ply(model.point_cloud(7), world)
    features = {"features": "mini"}
    # An uncovered pixel decodes to the mean, which is one of the negatives.
    compressor = PCA(0.2 * negatives[0], torch.cat([balls, negatives]), torch.tensor(1.0))
    with stage(model.autoencoder, CompressorRecord, {"method": "pca"}, {"features": features}):
        write_compressor(model.compressor, compressor)
    rows = torch.stack([balls[:2].mean(0)] * 2 + [balls[2:].mean(0)] * 2)
    levels = {"s": balls, "m": rows, "l": balls.mean(0).expand(4, -1)}
    with stage(model.language, LanguageRecord, {"levels": list(levels), "gaussians": 7}, {"geometry": world.geometry_hash()}):
        for level, wanted in levels.items():
            codes = compressor.encode(wanted) + noise * torch.randn(
                4, 6, generator=torch.Generator().manual_seed(int(100 * noise))
            )
            save_array(model.level_codes(level), codes.numpy())
    return model


def write_lifted(root: Path, scene: Path, coordinates: int = 6) -> ModelFolder:
    """The same world as a lifted field: at level s every Gaussian carries mostly its ball and a little of another, at m the
    rows, at l nothing but a code of all; the last Gaussian was never seen at level l. `coordinates` are kept of six."""
    model = write_model(root, scene)
    balls, negatives = embeddings()
    rows = torch.stack([balls[:2].mean(0), balls[2:].mean(0)])
    tables = {"s": torch.cat([0.95 * balls, negatives]), "m": rows, "l": balls.mean(0, keepdim=True)}
    basis = principal_directions(list(tables.values()), coordinates)
    codebook = Codebook(tables, basis)
    shutil.rmtree(model.autoencoder)
    shutil.rmtree(model.language)
    with stage(model.autoencoder, CompressorRecord, {"method": "codebook"}, {"features": {"features": "mini"}}):
        write_compressor(model.compressor, codebook)
    indices = {"s": [[0, 1], [1, 2], [2, 3], [3, 0]], "m": [[0, 1], [0, 1], [1, 0], [1, 0]], "l": [[0, 0]] * 4}
    shares = {"s": [[0.8, 0.2]] * 4, "m": [[0.9, 0.1]] * 4, "l": [[1.0, 0.0]] * 3 + [[0.0, 0.0]]}
    inputs = {"geometry": _world().geometry_hash(), "autoencoder": hashlib.sha256(model.compressor.read_bytes()).hexdigest()}
    with stage(model.language, LanguageRecord, {"levels": list(tables), "gaussians": 7}, inputs):
        for level in tables:
            mixed = torch.tensor(indices[level]), torch.tensor(shares[level])
            save_array(model.level_codes(level), pack(*mixed, torch.ones(4), codebook.gram(level)))
    return model
