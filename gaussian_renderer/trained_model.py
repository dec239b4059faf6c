"""Result of RGB training in a model folder: the Gaussians, their training settings and their scene."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from scene.dataset import Scene, load_scene
from scene.gaussian_files import load_ply
from scene.gaussian_model import GaussianModel
from workspace import InputError, ModelFolder
from workspace.record_types import RgbRecord, RgbSettings
from workspace.stage_record import require

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """Gaussians of one model folder with the settings they were trained with."""

    folder: ModelFolder
    gaussians: GaussianModel
    iteration: int
    config: RgbSettings
    photographs: Mapping[str, str]
    """Digests of the photographs they were trained on, by name; empty when they were trained elsewhere."""

    @property
    def background(self) -> Float[Tensor, "3"]:
        """RGB behind the Gaussians, 0..1."""
        return torch.full((3,), float(self.config.white_background), device=self.gaussians.means.device)

    def scene(self, source_path: Path | None = None, resolution: int | None = None) -> Scene:
        """The scene as used in training; pass `source_path` if it was moved since, `resolution` for another size.

        Raises:
            InputError: the scene folder is missing or cannot be read.
        """
        root = Path(self.config.source_path) if source_path is None else source_path
        if not root.is_dir():
            raise InputError(
                f"The scene folder {root} is gone; {self.folder.root} was trained from it. If it was moved, add -s and where it "
                "is now."
            )
        resolution = self.config.resolution if resolution is None else resolution
        scene = load_scene(
            root,
            images=self.config.images,
            resolution=resolution,
            eval=self.config.eval,
            ignore_distortion=self.config.ignore_distortion,
        )
        same = [self.photographs.get(name) == digest for name, digest in scene.photographs.items()]
        if source_path is not None and self.photographs and not any(same):
            # smaller copies are the user's choice, another scene with the same names is a slip
            log.warning(
                "%s has none of the photographs that %s was trained from (%s): answers are right only for the same scene.",
                root,
                self.folder.root,
                self.config.source_path,
            )
        return scene


def load_trained(folder: ModelFolder, iteration: int = -1, device: torch.device | str = "cpu") -> TrainedModel:
    """Read the Gaussians of a finished RGB stage; iteration -1 is the last.

    Raises:
        InputError: there is no model folder, no finished RGB training, or no Gaussians of that iteration.
    """
    folder.refuse_missing()
    record = require(folder.point_clouds, RgbRecord, folder.rgb_command)
    iteration = folder.found_iteration(iteration)
    gaussians = load_ply(folder.point_cloud(iteration)).to(device)
    return TrainedModel(folder, gaussians, iteration, record.config, record.inputs.photographs)
