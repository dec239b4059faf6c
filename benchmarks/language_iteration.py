"""One joint language iteration against three single-level iterations through the drop-in rasterizer, in one run.

    python -m benchmarks.language_iteration [-s <toy world>] [-m <model>] [--iterations 40] [--device cuda]

Without folders, a toy world of 640x480 is generated and its Gaussians are trained first (minutes, stored in output/benchmarks).
Segments are the exact ones of the toy world: s its parts, m its objects, l objects against the room.

The baseline is the published trainer, per level: activate the raw parameters, blend colours and codes through
the drop-in rasterizer, gather the target by its segment ids, L1 under the mask of labelled pixels, gradients of all
parameters (the published kernels always compute all), Adam on the codes. Ids and codes are in memory; the published trainer
reads them from disk in every iteration, which is left out here.
"""

import statistics
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from diff_gaussian_rasterization import GaussianRasterizationSettings, GaussianRasterizer
from PIL import Image

from autoencoder.config import AutoencoderConfig
from autoencoder.kinds import load_compressor
from autoencoder.stage import train_autoencoder
from benchmarks.timing import seconds_of
from features.registry import open_store
from features.segment_store import Segments, SegmentStore
from features.targets import SegmentTarget
from gaussian_renderer.trained_model import load_trained
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from toy_world.generate import write_toy_world
from training.language_config import LanguageRun, LanguageTrainConfig
from training.language_trainer import LanguageTrainer
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import ModelFolder, SceneFolder, read_json
from workspace.record_types import FeatureSettings, FeaturesRecord
from workspace.stage_record import RECORD, stage

KEPT = Path("output") / "benchmarks"
LEVELS = ("s", "m", "l")


@dataclass(frozen=True)
class Config:
    """Locations of the toy world and its Gaussians."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])] = KEPT / "toy_world"
    """Toy world; made when absent."""
    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])] = KEPT / "toy_world_model"
    """Its model folder; Gaussians are trained when absent."""
    iterations: int = 40
    """Timed iterations of each kind, taken in turns."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute; an iteration on a GPU ends when the GPU has done its work."""


def write_exact_segments(scene: SceneFolder) -> None:
    """The toy world's parts, objects and room as segments; each keeps one random embedding in all views."""
    generator = np.random.default_rng(0)
    parts = read_json(scene.part_ids / "parts.json")["parts"]
    objects = np.array([part["object"] for part in parts])
    room = np.isin([part["kind"] for part in parts], ["painting", "table", "floor", "wall"])
    groups = [np.arange(len(parts)), objects, room.astype(int)]
    offsets = np.cumsum([0, *(group.max() + 1 for group in groups)])
    embeddings = generator.standard_normal((offsets[-1], 64)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    store = SegmentStore(scene, FeatureSettings("mini", exact=True))
    with stage(store.folder, FeaturesRecord, store.settings, {}):
        for key in scene.image_files():
            part = np.asarray(Image.open(scene.part_ids / f"{key}.png"))
            known = part < len(parts)
            levels = [
                np.where(known, group[np.minimum(part, len(parts) - 1)] + o, -1)
                for group, o in zip(groups, offsets[:-1], strict=True)
            ]
            store.write(key, Segments(embeddings, np.stack([np.full_like(levels[0], -1), *levels]).astype(np.int32)))


class DropIn:
    """A single-level trainer on the drop-in rasterizer, as published."""

    def __init__(self, gaussians: GaussianModel, level: int):
        raw = {f.name: getattr(gaussians, f.name) for f in fields(gaussians)}
        leaves = {name: value.clone().requires_grad_() for name, value in raw.items() if isinstance(value, torch.Tensor)}
        self.gaussians = replace(gaussians, **leaves)
        self.leaves, self.level = list(leaves.values()), level
        self.codes = torch.zeros(len(gaussians), 3, device=gaussians.means.device, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.codes], lr=2.5e-3, eps=1e-15)

    def step(self, camera: Camera, target: SegmentTarget) -> None:
        """One iteration."""
        gaussians, none = self.gaussians, target.table.shape[1] - 1
        ids = target.ids[self.level].int()
        wanted, labelled = target.table.index_select(1, ids.flatten()).view(3, *ids.shape), (ids < none)[None]
        means2d = torch.zeros_like(gaussians.means, requires_grad=True)
        codes = self.codes / (self.codes.norm(dim=-1, keepdim=True) + 1e-9)
        rasterizer = GaussianRasterizer(_settings(camera, gaussians))
        shape = gaussians.opacities[:, None], gaussians.sh_coeffs, None, codes, gaussians.scales, gaussians.rotations
        _, image, _ = rasterizer(gaussians.means, means2d, *shape)
        loss = (image * labelled - wanted * labelled).abs().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for leaf in self.leaves:
            leaf.grad = None


def _settings(camera: Camera, gaussians: GaussianModel) -> GaussianRasterizationSettings:
    # The matrices stay on the CPU, where ours reads them: on a GPU every call would wait for it.
    x, y = camera.width / (2 * camera.fx), camera.height / (2 * camera.fy)
    near, far = 0.01, 100.0
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[1, 1], projection[3, 2] = 1 / x, 1 / y, 1
    projection[0, 2], projection[1, 2] = 2 * camera.cx / camera.width - 1, 2 * camera.cy / camera.height - 1
    projection[2, 2], projection[2, 3] = far / (far - near), -far * near / (far - near)
    view = torch.as_tensor(camera.world_to_camera, dtype=torch.float32)
    center = torch.as_tensor(camera.center, dtype=torch.float32)
    matrices = view.T, (projection @ view).T
    background, degree = gaussians.means.new_zeros(3), gaussians.active_sh_degree
    return GaussianRasterizationSettings(
        camera.height, camera.width, x, y, background, 1.0, *matrices, degree, center, False, False, True
    )


def main(config: Config) -> None:
    """Time both sides and print the ratio."""
    scene, model = SceneFolder(config.source_path), ModelFolder(config.model_path)
    if not scene.images.exists():
        write_toy_world(scene.root, seed=0, views=24)
    if not (scene.language_features / RECORD).exists():
        write_exact_segments(scene)
    if not (model.point_clouds / RECORD).exists():
        train_rgb(RgbTrainConfig(scene.root, model.root, eval=True, preset="fast", iterations=1000, device=config.device))
    train_autoencoder(AutoencoderConfig(scene.root, model.root, epochs=3, device=config.device))

    device = torch.device(config.device)
    trained = load_trained(model, device=device)
    settings = {"levels": LEVELS, "iterations": 0, "init": "zero", "seed": 0}
    language = LanguageTrainConfig(scene.root, model.root, device=config.device)
    run = LanguageRun(trained, trained.scene(), open_store(scene), load_compressor(model, device), LEVELS, device)
    trainer = LanguageTrainer(language, run, settings)
    cameras = [
        camera.resized(target.width, target.height) for camera, target in zip(trainer.scene.train, trainer.targets, strict=True)
    ]
    singles = [DropIn(trained.gaussians, level) for level in range(len(LEVELS))]
    for index in 2 * list(range(len(cameras))):  # the first two of hundreds of passes fill the caches
        trainer.views[index].rasterize(trainer.channels()).image.sum().backward()
    trainer.codes.grad = None

    joint, separate = [], []
    for _ in range(config.iterations):
        index = trainer.view_index(trainer.iteration)
        joint.append(seconds_of(trainer.step, device))
        separate.append(
            sum(seconds_of(partial(single.step, cameras[index], trainer.targets[index]), device) for single in singles)
        )

    for level, single, codes in zip(LEVELS, singles, trainer.codes.detach().split(3, 1), strict=True):
        difference = (codes - single.codes.detach()).abs().max().item()
        print(f"level {level}: codes after {config.iterations} iterations differ by {difference:.1e} at most")
    sizes = f"{len(trained.gaussians):,} Gaussians, {cameras[0].width}x{cameras[0].height}, "
    sizes += torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    joint_ms, separate_ms = (1e3 * statistics.median(times) for times in (joint, separate))
    print(f"{sizes}: joint iteration {joint_ms:.1f} ms, three single-level iterations {separate_ms:.1f} ms")
    print(f"ratio {separate_ms / joint_ms:.1f}")


if __name__ == "__main__":
    main(tyro.cli(Config))
