"""The answer to one phrase for programs: Gaussians, instances, masks and points, each computed when it is read."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from query.filters import box_mean
from query.objects.description import LocatedObject
from query.objects.finding import FoundPhrase, InstanceOptions, PhraseRelevancy
from query.objects.instances import Instance
from query.objects.saving import Edits, Saved, located, save_answers
from query.objects.views import SEEN
from query.opened_scene import OpenedScene
from scene.camera import Camera


@dataclass(frozen=True, eq=False)
class PhraseAnswer:
    """Where one phrase is in a model. No instance is an answer too: the phrase is not here."""

    model: OpenedScene
    compared: PhraseRelevancy
    found: FoundPhrase
    options: InstanceOptions
    negatives: tuple[str, ...] = ()
    """Phrases that stood for everything else; none for those of the text encoder."""
    asked_level: str | None = None
    """The level asked for; None to choose the best."""

    @property
    def phrase(self) -> str:
        """What was asked."""
        return self.found.phrase

    @property
    def level(self) -> str:
        """The level that answered."""
        return self.found.level

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Groups of Gaussians (`members`: indices, `score`), best first."""
        return self.found.instances

    @property
    def relevancy(self) -> Float[np.ndarray, " n"]:
        """Smoothed relevancy of every Gaussian, in (0, 1); above 0.5 it beats every negative. 0 where nothing is known."""
        return self.compared.values

    @cached_property
    def gaussians(self) -> Bool[np.ndarray, " n"]:
        """True for the Gaussians of all instances."""
        return self.found.mask(len(self.relevancy))

    @torch.inference_mode()
    def mask(self, camera: Camera) -> Bool[np.ndarray, "h w"]:
        """Pixels of a camera's picture more than half of whose colour comes from the instances."""
        return self._rendered(camera, self.gaussians) > SEEN

    @torch.inference_mode()
    def relevancy_map(self, camera: Camera) -> Float[np.ndarray, "h w"]:
        """The Gaussians' relevancy rendered from a camera, in [0, 1); lower where little is covered."""
        return self._rendered(camera, self.relevancy)

    def point(self, camera: Camera) -> tuple[int, int] | None:
        """Column and row of the highest relevancy within the mask, smoothed over 30 pixels; None when it is not seen."""
        mask = self.mask(camera)
        if not mask.any():
            return None
        smooth = box_mean(torch.from_numpy(self.relevancy_map(camera))).numpy()
        row, column = np.unravel_index(np.argmax(np.where(mask, smooth, -1.0)), mask.shape)
        return int(column), int(row)

    def objects(self, views: int = 3) -> list[LocatedObject]:
        """Position, boxes and score of every instance in the model's frame, and the `views` photographs that show it best."""
        model = self.model
        return located(model.folder, [self.found], model.gaussians, list(model.cameras.values()), model.frame, views)

    def save(self, edits: Edits | None = None) -> Saved:
        """Write what locate.py writes: objects.json, indices, report.html, and the splat files that `edits` asks for."""
        model, trained, cameras = self.model, self.model.session.field.trained, list(self.model.cameras.values())
        known, edits = model.finder.known, edits or Edits()
        return save_answers(model.folder, [self.found], trained, cameras, model.frame, known, edits, self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What decided the answer, for objects.json."""
        options = {one.name: getattr(self.options, one.name) for one in fields(InstanceOptions)}
        asked = {"level": self.asked_level, "field": self.model.folder.field}
        return options | asked | self.model.session.relevancy(self.negatives)

    def _rendered(self, camera: Camera, values: np.ndarray) -> Float[np.ndarray, "h w"]:
        channel = torch.from_numpy(values).to(self.model.gaussians.means)[:, None]
        return self.model.view(camera).rasterize(channel).image[0].cpu().numpy()
