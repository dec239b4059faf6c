"""Training the language field: one code per Gaussian and level, on frozen Gaussians, all levels in one pass."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from autoencoder.compressor import Compressor, FieldPreset
from autoencoder.kinds import load_compressor
from features.feature_store import FeatureStore
from features.registry import open_store
from features.targets import Target
from gaussian_renderer.trained_model import TrainedModel, load_trained
from scene.camera import Camera
from scene.dataset import Scene
from scene.photographs import names_text
from training.language_codes import lifted_codes
from training.language_quality import measure_codes, table
from training.language_targets import read_target, residual
from training.language_views import PreparedViews
from training.view_quality import train_sample
from workspace import InputError, ModelFolder, SceneFolder, save_array
from workspace.device import Device, chosen_device
from workspace.record import plain, require, stage
from workspace.records import CompressorRecord, LanguageRecord, LanguageReport
from workspace.resume import delete_checkpoints, load_checkpoint, save_checkpoint, stop_requests

log = logging.getLogger(__name__)

ADAM_EPS = 1e-15
LOOK_INTERVAL = 10  # iterations between looks at the loss: each waits for the device
SMOOTHING = 0.9  # of the loss shown

Init = Literal["zero", "lift"]
PRESETS: dict[FieldPreset, tuple[int, Init]] = {"published": (30_000, "zero"), "fast": (200, "lift")}  # iterations, start
# At a code of zero the derivative of code / (|code| + 1e-9) is 1e9. Adam remembers that first gradient for a while: until
# its second moment has decayed, after about 10,000 iterations, the codes hardly leave their first direction.
ITERATIONS_FROM_ZERO = 20_000


@dataclass(frozen=True)
class LanguageTrainConfig:
    """Settings of language training. The defaults are those of LangSplat (Qin et al. 2024)."""

    source_path: Annotated[Path | None, tyro.conf.arg(aliases=["-s"])] = None
    """Scene folder with features; where RGB training read it when not given."""
    model_path: Annotated[Path | None, tyro.conf.arg(aliases=["-m"])] = None
    """Model folder with trained Gaussians and codes; output/<scene> when not given."""
    feature_level: Literal[0, 1, 2, 3] | None = None
    """Train one level only: 0 default, 1 s, 2 m, 3 l. All of s, m, l when not given; patch features have one level."""
    preset: FieldPreset | None = None
    """published: 30,000 iterations from zero. fast: 200 from lifted codes; docs/language.md compares them. When not given,
    published for codes of an autoencoder and fast for principal components."""
    iterations: int | None = None
    """Iterations, one photograph each; the preset's when not given."""
    init: Init | None = None
    """Codes to start from: zero, or lift, the mean of the codes each Gaussian is seen with; the preset's when not given."""
    language_feature_lr: float = 2.5e-3
    """Adam's step size, in units of a code."""
    iteration: int = -1
    """Which Gaussians of the model folder; -1 is the last."""
    view_cache_gb: float = 4.0
    """Memory for views prepared once instead of at every visit and, on a CPU, for their blending weights; gigabytes."""
    seed: int = 0
    """Of the order of photographs."""
    checkpoint_interval: int = 1_000
    """Iterations between resumable checkpoints; the newest is kept until training ends. 0: only when interrupted."""
    resume: bool = True
    """Continue from the checkpoint of an interrupted run."""
    overwrite: bool = False
    """Replace a language field made with other settings."""
    device: Device = "auto"
    """auto takes the GPU when there is one."""


def train_language(config: LanguageTrainConfig) -> None:
    """Fit language codes to the frozen Gaussians of a model (stage 3, language).

    Raises:
        InputError: a stage before has not run, or features, codes and Gaussians do not belong together.
    """
    device = chosen_device(config.device)
    _refuse_meaningless(config)
    model = ModelFolder.of(config.source_path, config.model_path)
    trained = load_trained(model, config.iteration, device)
    scene = trained.scene(config.source_path)
    _refuse_replaced(trained, scene)
    store = _compressed_features(scene.folder, model)
    compressor = load_compressor(model, device)
    levels = _levels(config.feature_level, store)
    iterations, init = PRESETS[config.preset or compressor.field_preset]
    iterations = iterations if config.iterations is None else config.iterations
    init = config.init or init
    if init == "zero" and iterations < ITERATIONS_FROM_ZERO:
        log.warning("From zero, codes take shape after %d iterations; with fewer use --init lift.", ITERATIONS_FROM_ZERO)
    settings = {"levels": levels, "iterations": iterations, "init": init}
    settings |= {"language_feature_lr": config.language_feature_lr, "seed": config.seed, "gaussians": trained.iteration}
    inputs = {
        "geometry": trained.gaussians.geometry_hash(),
        "autoencoder": hashlib.sha256(model.compressor.read_bytes()).hexdigest(),
        "features": store.settings,
    }
    with stage(model.language, LanguageRecord, settings, inputs, config.overwrite) as run:
        if config.overwrite or not config.resume:
            delete_checkpoints(model, "language")
        if config.resume and run.report is not None and all(model.level_codes(level).exists() for level in levels):
            log.info("Already trained; --no-resume trains again.")
        else:
            trainer = LanguageTrainer(config, settings, trained, scene, store, compressor, device)
            run.report = trainer.run(plain({**settings, **inputs}))
        log.info("Rendered against target codes:\n%s", table(run.report))
        log.info("%.0f s for %d iterations: %s", run.report.seconds, iterations, model.language)


def _refuse_meaningless(config: LanguageTrainConfig) -> None:
    for name in ("iterations", "checkpoint_interval", "view_cache_gb"):
        value = getattr(config, name)
        if value is not None and not value >= 0:
            raise InputError(f"--{name} {value}: expected 0 or more.")
    if not config.language_feature_lr > 0:
        raise InputError(f"--language_feature_lr {config.language_feature_lr}: expected a positive step size.")


def _refuse_replaced(trained: TrainedModel, scene: Scene) -> None:
    """Gaussians of the photographs that were there before do not fit the features of those that are there now."""
    if Path(trained.config.source_path) != scene.folder.root.resolve():
        return  # another folder was named on purpose, such as one with smaller photographs
    changed = [name for name, digest in scene.photographs.items() if trained.photographs.get(name, digest) != digest]
    if changed:
        raise InputError(
            f"{len(changed)} photographs of {scene.folder.root} were replaced since the Gaussians in {trained.folder.root} were "
            f"trained: {names_text(changed)}. Train these first: "
            f"python train.py -s {scene.folder.root} -m {trained.folder.root} --overwrite"
        )


def _compressed_features(scene: SceneFolder, model: ModelFolder) -> FeatureStore:
    """The features the compressor was fitted to, which must be the scene's."""
    command = f"python train_autoencoder.py -s {scene.root} -m {model.root}"
    fitted = require(model.autoencoder, CompressorRecord, command).inputs
    store = open_store(scene, fitted.features.extractor)
    if store.settings != fitted.features:
        raise InputError(
            f"The codes in {model.autoencoder} are of features made with {fitted.features};\n{scene.root} has {store.settings}. "
            f"Compress these: {command} --overwrite"
        )
    made = store.refuse_replaced()
    if fitted.photographs not in (None, made):  # an imported compressor knows no photographs
        raise InputError(
            f"The features of {scene.root} were made again since {model.autoencoder}, from other photographs. "
            f"Compress these: {command} --overwrite"
        )
    return store


def _levels(feature_level: int | None, store: FeatureStore) -> tuple[str, ...]:
    if feature_level is None:
        return store.trained_levels
    if len(store.levels) == 1:
        raise InputError(f"{store.extractor} features have one level; leave --feature_level out.")
    return (store.levels[feature_level],)


class LanguageTrainer:
    """One run of language training on one model."""

    def __init__(
        self,
        config: LanguageTrainConfig,
        settings: dict[str, Any],
        trained: TrainedModel,
        scene: Scene,
        store: FeatureStore,
        compressor: Compressor,
        device: torch.device,
    ):
        self.config, self.settings, self.model, self.gaussians = config, settings, trained.folder, trained.gaussians
        self.levels, self.compressor, self.code_width = settings["levels"], compressor, compressor.code_width
        self.scene, self.store, self.device = scene, store, device
        self.targets = self.read_targets(scene.train, "reading codes")
        self.views = self.prepared(scene.train, self.targets)
        self.codes = torch.zeros(len(self.gaussians), len(self.levels) * self.code_width, device=device, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.codes], lr=config.language_feature_lr, eps=ADAM_EPS, fused=True)
        self.iteration, self.seconds = 0, 0.0

    def run(self, settings: dict[str, Any]) -> LanguageReport:
        """Train to the last iteration, write the codes, and return the report; a stop request leaves a checkpoint."""
        iterations, interval = self.settings["iterations"], self.config.checkpoint_interval
        began = time.perf_counter()
        saved = load_checkpoint(self.model, "language", self.device)
        if saved is not None:
            self.restore(saved, settings)
        elif self.settings["init"] == "lift":
            sizes = len(self.gaussians), len(self.levels)
            self.codes.data.copy_(lifted_codes(self.views, self.targets, *sizes, self.compressor))
        progress = tqdm(total=iterations, initial=self.iteration, unit="it", desc="language", dynamic_ncols=True)
        shown = None
        with stop_requests() as stop_requested, progress:
            while self.iteration < iterations:
                look = (self.iteration + 1) % LOOK_INTERVAL == 0 or self.iteration + 1 == iterations
                loss = self.step(with_loss=look)
                if look:
                    shown = loss.item() if shown is None else SMOOTHING * shown + (1 - SMOOTHING) * loss.item()
                    progress.set_postfix_str(f"loss {shown:.4f}", refresh=False)
                    progress.update(self.iteration - progress.n)
                due = interval > 0 and self.iteration % interval == 0 and self.iteration < iterations
                if due or stop_requested():
                    self.seconds, began = self.seconds + time.perf_counter() - began, time.perf_counter()
                    save_checkpoint(self.model, "language", self.iteration, {"settings": settings, **self.saved()})
                if stop_requested():
                    raise KeyboardInterrupt
        self.seconds += time.perf_counter() - began
        return self.finish()

    def step(self, with_loss: bool = False) -> Tensor | None:
        """One iteration on the next view: the L1 loss over all pixels and channels of each level, averaged over levels.

        The loss is linear in the residual's signs, so its gradient is written down rather than recorded; scaled after the
        sum over pixels, each level's share is that of a run of its own.
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
        """Training view of an iteration: every pass visits all of them in an order of its own."""
        epoch, position = divmod(iteration, len(self.views))
        generator = torch.Generator().manual_seed(self.settings["seed"] * 1_000_003 + epoch)
        return int(torch.randperm(len(self.views), generator=generator)[position])

    def channels(self) -> Tensor:
        """What is blended now."""
        return self.compressor.blended(self.codes)

    def read_targets(self, cameras: Sequence[Camera], label: str) -> list[Target]:
        """Targets of views, on the device."""
        arguments = self.levels, self.code_width, self.device
        return [read_target(self.store, self.model, camera, *arguments) for camera in tqdm(cameras, desc=label, unit="view")]

    def prepared(self, cameras: Sequence[Camera], targets: Sequence[Target]) -> PreparedViews:
        """Views at the sizes of their targets."""
        sized = [camera.resized(target.width, target.height) for camera, target in zip(cameras, targets, strict=True)]
        return PreparedViews(sized, self.gaussians, self.config.view_cache_gb * 1e9)

    def saved(self) -> dict[str, Any]:
        """Everything an interrupted run needs."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "codes": self.codes.detach(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, saved: dict[str, Any], settings: dict[str, Any]) -> None:
        """Continue from `saved`; InputError when it is of a run with other settings."""
        if saved.get("settings") != settings:
            raise InputError(f"{self.model.checkpoints} holds a language run with other settings. Add --no-resume to discard it.")
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
        delete_checkpoints(self.model, "language")
        return LanguageReport(round(self.seconds, 1), str(self.device), train, held_out)
