"""Optimising a language field: one code per Gaussian and level, on frozen Gaussians, all levels in one pass."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from autoencoder.compressor import Compressor, FieldPreset
from features.targets import Target
from scene.camera import Camera
from training.language_codes import lifted_codes
from training.language_config import Init, LanguageRun, LanguageTrainConfig
from training.language_quality import measure_codes
from training.language_targets import read_target, residual
from training.language_views import PreparedViews
from training.progress import LOOK_INTERVAL, SMOOTHING
from training.schedule import ADAM_EPS
from training.view_quality import train_sample
from workspace import InputError, save_array
from workspace.record_types import LanguageReport
from workspace.resume import Resumable

log = logging.getLogger(__name__)


PRESETS: dict[FieldPreset, tuple[int, Init]] = {"published": (30_000, "zero"), "fast": (200, "lift")}  # iterations, initial codes
# At a code of zero the derivative of code / (|code| + 1e-9) is 1e9. Adam's second moment keeps that first gradient: until it
# has decayed, after about 10,000 iterations, the codes hardly change their first direction.
ITERATIONS_FROM_ZERO = 20_000


def code_settings(config: LanguageTrainConfig, compressor: Compressor, levels: tuple[str, ...]) -> dict[str, Any]:
    """Settings that determine an optimised field; InputError for invalid values."""
    if config.codes_per_gaussian is not None or config.samples != "all":
        raise InputError(
            f"--codes_per_gaussian and --samples are of lifted codebooks; the compressor is of method {compressor.method}. Leave "
            "them out, or make a codebook first: train_autoencoder.py with --method codebook."
        )
    iterations, init = PRESETS[config.preset or compressor.field_preset]
    iterations = iterations if config.iterations is None else config.iterations
    init = config.init or init
    if init == "zero" and iterations < ITERATIONS_FROM_ZERO:
        log.warning("From zero, codes take shape after %d iterations; with fewer use --init lift.", ITERATIONS_FROM_ZERO)
    settings = {"iterations": iterations, "init": init}
    return settings | {"language_feature_lr": config.language_feature_lr, "seed": config.seed}


def train_codes(config: LanguageTrainConfig, run: LanguageRun, settings: dict[str, Any]) -> LanguageReport:
    """Optimise the codes of a field and write them; continues an interrupted run."""
    return LanguageTrainer(config, run, settings).train()


class LanguageTrainer:
    """One run of language training on one model."""

    def __init__(self, config: LanguageTrainConfig, run: LanguageRun, settings: dict[str, Any]):
        self.config, self.settings, self.model, self.gaussians = config, settings, run.trained.folder, run.trained.gaussians
        self.levels, self.compressor, self.code_width = run.levels, run.compressor, run.compressor.code_width
        self.scene, self.store, self.device = run.scene, run.store, run.device
        self.targets = self.read_targets(run.scene.train, "reading codes")
        self.views = self.prepared(run.scene.train, self.targets)
        self.codes = torch.zeros(len(self.gaussians), len(self.levels) * self.code_width, device=run.device, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.codes], lr=config.language_feature_lr, eps=ADAM_EPS, fused=True)
        self.iteration, self.seconds = 0, 0.0

    def train(self) -> LanguageReport:
        """Train to the last iteration, write the codes, and return the report; a stop request leaves a checkpoint."""
        iterations, interval = self.settings["iterations"], self.config.checkpoint_interval
        began = time.perf_counter()
        loop = Resumable(self.model, "language", self.settings)
        saved = loop.saved(self.device)
        if saved is not None:
            with loop.restoring():
                self.restore(saved)
        elif self.settings["init"] == "lift":
            sizes = len(self.gaussians), len(self.levels)
            self.codes.data.copy_(lifted_codes(self.views, self.targets, *sizes, self.compressor))
        progress = tqdm(total=iterations, initial=self.iteration, unit="it", desc="language", dynamic_ncols=True)
        shown = None
        with loop.interruptible() as finished, progress:
            while self.iteration < iterations:
                look = (self.iteration + 1) % LOOK_INTERVAL == 0 or self.iteration + 1 == iterations
                loss = self.step(with_loss=look)
                if look:
                    shown = loss.item() if shown is None else SMOOTHING * shown + (1 - SMOOTHING) * loss.item()
                    progress.set_postfix_str(f"loss {shown:.4f}", refresh=False)
                    progress.update(self.iteration - progress.n)
                self.seconds, began = self.seconds + time.perf_counter() - began, time.perf_counter()
                due = interval > 0 and self.iteration % interval == 0 and self.iteration < iterations
                finished(self.iteration, self.saved, due=due)
        return self.finish()

    def step(self, with_loss: bool = False) -> Tensor | None:
        """One iteration on the next view; `with_loss` returns the L1 loss over pixels and channels, averaged over levels.

        The gradient of L1 is the sign of the residual and is passed to the backward pass directly, without autograd. It is
        scaled after the sum over pixels, so that each level gets the same gradient as when it is trained alone.
        """
        index = self.view_index(self.iteration)
        target = self.targets[index]
        image = self.views[index].rasterize(self.channels()).image
        difference = residual(target, image.detach())
        loss = difference.abs().mean() if with_loss else None
        image.backward(difference.sign_())
        self.codes.grad.mul_(1 / (self.code_width * target.width * target.height))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.iteration += 1
        return loss

    def view_index(self, iteration: int) -> int:
        """Index of the training view of an iteration; each epoch visits all views in a new random order."""
        epoch, position = divmod(iteration, len(self.views))
        generator = torch.Generator().manual_seed(self.settings["seed"] * 1_000_003 + epoch)
        return int(torch.randperm(len(self.views), generator=generator)[position])

    def channels(self) -> Tensor:
        """The current codes as channels to blend, all levels side by side."""
        return self.compressor.blended(self.codes)

    def read_targets(self, cameras: Sequence[Camera], label: str) -> list[Target]:
        """Targets of views, on the device."""
        arguments = self.levels, self.code_width, self.device
        return [read_target(self.store, self.model, camera, *arguments) for camera in tqdm(cameras, desc=label, unit="view")]

    def prepared(self, cameras: Sequence[Camera], targets: Sequence[Target]) -> PreparedViews:
        """Prepared views at the sizes of their targets."""
        sized = [camera.resized(target.width, target.height) for camera, target in zip(cameras, targets, strict=True)]
        return PreparedViews(sized, self.gaussians, self.config.view_cache_gb * 1e9)

    def saved(self) -> dict[str, Any]:
        """State for a checkpoint, read by `restore`."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "codes": self.codes.detach(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from `saved`."""
        self.codes.data.copy_(saved["codes"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.iteration, self.seconds = saved["iteration"], saved["seconds"]
        log.info("Continuing after iteration %d.", self.iteration)

    def finish(self) -> LanguageReport:
        """Write the codes and measure them; the checkpoint is no longer needed."""
        for level, codes in zip(self.levels, self.codes.detach().split(self.code_width, 1), strict=True):
            save_array(self.model.level_codes(level), codes.contiguous().cpu().numpy())
        channels = self.channels().detach()
        sample = [self.scene.train.index(camera) for camera in train_sample(self.scene.train)]
        train, held_out = measure_codes([(self.views[i], self.targets[i]) for i in sample], channels, self.levels), None
        if self.scene.test:
            targets = self.read_targets(self.scene.test, "reading held-out codes")
            views = self.prepared(self.scene.test, targets)
            held_out = measure_codes(zip(views, targets, strict=True), channels, self.levels)
        return LanguageReport(round(self.seconds, 1), str(self.device), train, held_out)
