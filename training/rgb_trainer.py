"""RGB training of 3D Gaussian Splatting: fits Gaussians to photographs with known cameras."""

import logging
import math
import time
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gaussian_renderer import render
from scene.dataset import Scene, load_scene
from scene.gaussian_files import copy_ply, extra_properties, is_ply, load_gaussians, save_ply
from scene.gaussian_files import load_checkpoint as load_reference_checkpoint
from scene.gaussian_model import GaussianModel
from scene.photographs import PhotographCache
from training.densification import densify, reset_opacities
from training.losses import photometric_loss, psnr
from training.photograph_stream import PhotographStream
from training.progress import LOOK_INTERVAL, TrainingProgress
from training.rgb_config import RgbTrainConfig, refuse_meaningless
from training.rgb_state import RgbState
from training.schedule import Schedule
from training.view_quality import Quality, measure_views, read_metrics, summary, table, train_sample
from workspace import InputError, ModelFolder, write_json
from workspace.device import chosen_device
from workspace.files import file_digest
from workspace.record_types import RgbRecord
from workspace.resume import Resumable, delete_checkpoints
from workspace.stage_record import stage

log = logging.getLogger(__name__)

FEW_PHOTOGRAPHS = 12


# Settings that say where, when and how much is written, not what is learned.
_UNRECORDED = ("model_path", "save_iterations", "test_iterations", "checkpoint_interval", "resume", "overwrite", "device")


def train_rgb(config: RgbTrainConfig) -> None:
    """Fit Gaussians to the photographs of a scene (stage 3, RGB).

    Raises:
        InputError: nothing to train from, another configuration in the model folder, or training that diverged.
    """
    device = chosen_device(config.device)
    model = ModelFolder.of(config.source_path, config.model_path)
    refuse_meaningless(config)
    schedule = Schedule.of(config.preset, config.iterations)
    if config.fixed_points:
        schedule = replace(schedule, densify_until=0)  # this also disables opacity resets
    scene = load_scene(
        config.source_path,
        images=config.images,
        resolution=config.resolution,
        eval=config.eval,
        ignore_distortion=config.ignore_distortion,
        own_points=config.fixed_points and config.start_checkpoint is None,
    )
    if len(scene.train) < FEW_PHOTOGRAPHS:
        log.warning("Only %d photographs to train from: views between them will look wrong.", len(scene.train))
    settings = {name: value for name, value in asdict(config).items() if name not in _UNRECORDED}
    settings["source_path"] = config.source_path.resolve().as_posix()
    settings["iterations"] = schedule.iterations
    settings["start_checkpoint"] = None if config.start_checkpoint is None else config.start_checkpoint.resolve().as_posix()
    inputs = {"train_views": len(scene.train), "test_views": len(scene.test), "points": len(scene.points)}
    inputs["photographs"] = scene.photographs
    if config.start_checkpoint is not None:
        if not config.start_checkpoint.is_file():
            raise InputError(f"No file {config.start_checkpoint}.")
        inputs["start_checkpoint"] = file_digest(config.start_checkpoint)[:16]
    with stage(model.point_clouds, RgbRecord, settings, inputs, config.overwrite):
        if config.overwrite or not config.resume:
            delete_checkpoints(model, "rgb")
        done = model.point_cloud(schedule.iterations).exists() and model.rgb_metrics.exists()
        if done and config.resume:
            log.info("Already trained; --no-resume trains again.")
        else:
            _Trainer(config, schedule, scene, model, settings, device).run()
        metrics = read_metrics(model.rgb_metrics)
        log.info("%s", table(metrics.views))
        log.info(
            "%s Gaussians after %s iterations and %.0f s: %s",
            f"{metrics.gaussians:,}",
            f"{metrics.iteration:,}",
            metrics.seconds,
            model.point_cloud(schedule.iterations),
        )


class _Trainer:
    """One run of training over one scene."""

    def __init__(
        self,
        config: RgbTrainConfig,
        schedule: Schedule,
        scene: Scene,
        model: ModelFolder,
        settings: dict[str, Any],
        device: torch.device,
    ):
        self.config, self.schedule, self.scene, self.model, self.settings = config, schedule, scene, model, settings
        background = float(config.white_background)
        self.photographs = PhotographCache(background=(background,) * 3)
        self.background = torch.full((3,), background, device=device)
        self.device = device
        self.loop = Resumable(model, "rgb", settings)
        self.state = self._initial_state()

    def run(self) -> None:
        """Train to the last iteration and write Gaussians and metrics; a stop request leaves a checkpoint."""
        config, schedule, state = self.config, self.schedule, self.state
        stream = PhotographStream(self.scene.train, self.photographs, state.generator, state.queue)
        state.queue = stream.queue
        progress = TrainingProgress(schedule.iterations, state.iteration, self.model.tensorboard)
        try:
            with self.loop.interruptible() as finished:
                while state.iteration < schedule.iterations:
                    began = time.perf_counter()
                    iteration = state.iteration + 1
                    camera, target = stream.next(schedule.divisor(iteration), self.device)
                    loss, image = self.step(iteration, camera, target)
                    last = iteration == schedule.iterations
                    if iteration % LOOK_INTERVAL == 0 or last:
                        progress.update(iteration, self.checked(loss, iteration), psnr(image, target), len(state.gaussians))
                    state.iteration = iteration
                    state.seconds += time.perf_counter() - began
                    if iteration in config.save_iterations and not last:
                        save_ply(self.model.point_cloud(iteration), state.gaussians)
                    if iteration in config.test_iterations and not last and self.scene.test:
                        progress.held_out(iteration, **summary(self.measure(self.scene.test)))
                    # Also after the last iteration: measuring the views of a large scene takes long enough to be interrupted.
                    due = config.checkpoint_interval > 0 and (last or iteration % config.checkpoint_interval == 0)
                    finished(iteration, partial(self.saved, loss), due=due)
        finally:
            stream.close()
            progress.close()
        self.finish()

    def step(self, iteration: int, camera: Any, target: Tensor) -> tuple[Tensor, Tensor]:
        """One iteration: forward and backward pass, Adam step and, when due, densification and opacity reset; loss and image."""
        config, schedule, state = self.config, self.schedule, self.state
        gaussians, optimizer = state.gaussians, state.optimizer
        extent = self.scene.extent
        for group in optimizer.param_groups:
            if group["name"] == "means":
                group["lr"] = (
                    (0.0 if config.fixed_points else self.rate_factor("means"))
                    * extent
                    * schedule.position_lr(iteration, config.position_lr_init, config.position_lr_final)
                )
        if schedule.raises_sh_degree(iteration):
            gaussians.active_sh_degree = min(gaussians.active_sh_degree + 1, gaussians.max_sh_degree)

        means2d = gaussians.means.new_zeros(len(gaussians), 2).requires_grad_()
        rendering = render(camera, gaussians, self.background, means2d=means2d)
        loss = photometric_loss(rendering.image, target, config.lambda_dssim)
        loss.backward()
        # Deviates from the published order, in which Adam steps after densification and reset: there, tensors replaced in an
        # iteration miss its step, and the last iteration has no step.
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        if iteration < schedule.densify_until:
            state.statistics.record(means2d.grad, rendering.radii)
        if schedule.densifies(iteration):
            state.statistics = densify(
                gaussians,
                optimizer,
                state.statistics,
                extent,
                config.densify_grad_threshold,
                config.percent_dense,
                schedule.prunes_large(iteration),
                state.generator,
                schedule.max_gaussians,
            )
            if not len(gaussians):
                raise InputError(f"Every Gaussian was pruned at iteration {iteration}: {_DIVERGED}")
        if schedule.resets_opacities(iteration, config.white_background):
            reset_opacities(gaussians, optimizer)
        return loss.detach(), rendering.image.detach()

    def saved(self, loss: Tensor) -> dict[str, Any]:
        """State for a checkpoint; InputError when the last loss is not finite."""
        self.checked(loss, self.state.iteration)
        return self.state.saved()

    def checked(self, loss: Tensor, iteration: int) -> float:
        """The loss as a float; InputError when it is not finite, so that such a state is never saved."""
        value = loss.item()
        if not math.isfinite(value):
            raise InputError(f"The loss is {value} at iteration {iteration}: {_DIVERGED}")
        return value

    def measure(self, cameras: Any) -> Quality:
        """PSNR (dB) and SSIM of each camera's view, by name."""
        return measure_views(self.state.gaussians, cameras, self.photographs, self.background)

    def finish(self) -> None:
        """Write the Gaussians and their metrics; the checkpoint is no longer needed."""
        state = self.state
        views = {"test": self.measure(self.scene.test), "train": self.measure(train_sample(self.scene.train))}
        path, start = self.model.point_cloud(state.iteration), self.config.start_checkpoint
        if state.iteration == 0 and start is not None and is_ply(start):
            copy_ply(start, path)  # nothing was trained: properties unknown to us stay
        else:
            save_ply(path, state.gaussians)
        report = {
            "iteration": state.iteration,
            "gaussians": len(state.gaussians),
            "seconds": round(state.seconds, 1),
            "device": str(self.device),
            "mean": {split: summary(quality) for split, quality in views.items() if quality},
            "views": views,
        }
        write_json(self.model.rgb_metrics, report)
        delete_checkpoints(self.model, "rgb")

    def rate_factor(self, name: str) -> float:
        """Factor of the preset on a parameter's learning rate, 1 by default."""
        return self.schedule.rate_factors.get(name, 1.0)

    def _initial_state(self) -> RgbState:
        config = self.config
        published = {
            "means": config.position_lr_init * self.scene.extent,
            "log_scales": config.scaling_lr,
            "quats": config.rotation_lr,
            "opacity_logits": config.opacity_lr,
            "sh_dc": config.feature_lr,
            "sh_rest": config.feature_lr / 20,
        }
        rates = {name: rate * self.rate_factor(name) for name, rate in published.items()}
        saved = self.loop.saved(self.device)
        if saved is not None:
            with self.loop.restoring():
                state = RgbState.restored(saved, rates)
            log.info("Continuing after iteration %d.", state.iteration)
            return state
        gaussians, iteration = _first_gaussians(config, self.schedule, self.scene)
        return RgbState.start(gaussians.to(self.device), rates, config.seed, min(iteration, self.schedule.iterations))


def _first_gaussians(config: RgbTrainConfig, schedule: Schedule, scene: Scene) -> tuple[GaussianModel, int]:
    """Initial Gaussians, and the iteration of their checkpoint, 0 where there is none."""
    path = config.start_checkpoint
    if path is None:
        return GaussianModel.from_points(scene.points, scene.colors, config.sh_degree), 0
    if path.suffix == ".pth":
        gaussians, _, iteration = load_reference_checkpoint(path)
        return gaussians, iteration
    gaussians = load_gaussians(path)
    extra = extra_properties(path) if is_ply(path) else []
    if extra and schedule.iterations:
        log.warning("%s: %s not trained and left out; --iterations 0 keeps every property.", path.name, ", ".join(extra))
    if "filter_3D" in extra:
        log.warning("%s: the 3D filter of Mip-Splatting is not applied; its fused .ply has it applied.", path.name)
    return gaussians, 0


_DIVERGED = (
    "training diverged. Check that the cameras are right (python convert.py reports their error); "
    "else lower --position_lr_init or --opacity_lr and repeat with --overwrite."
)
