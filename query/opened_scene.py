"""A model folder opened for questions in 3D: Gaussians, cameras, projections, and where positions are given."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TypeVar

import numpy as np
from diff_gaussian_rasterization import PreparedView

from gaussian_renderer import prepare_view
from query.objects.coordinates import Frame, read_frame
from query.objects.finding import ObjectFinder
from query.session import Session
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from scene.image_names import match_names
from workspace import ModelFolder

PREPARED_VIEWS = 2  # projections kept; one of a million Gaussians takes tens of megabytes

_V = TypeVar("_V")


class OpenedScene:
    """A model's Gaussians, cameras and language field."""

    def __init__(self, session: Session):
        self.session = session
        self.finder = ObjectFinder(session.field)
        self._views: OrderedDict[Hashable, PreparedView] = OrderedDict()

    @property
    def folder(self) -> ModelFolder:
        """The model folder, with the field that is asked."""
        return self.session.model

    @property
    def gaussians(self) -> GaussianModel:
        """The trained Gaussians."""
        return self.session.field.trained.gaussians

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the field's levels, such as s, m and l."""
        return self.session.field.levels

    @cached_property
    def cameras(self) -> dict[str, Camera]:
        """The cameras of the photographs by name, training views first."""
        return {camera.name: camera for camera in (*self.session.scene.train, *self.session.scene.test)}

    @property
    def frame(self) -> Frame:
        """Where positions are given: upright and in metres once `locate.py --up` and `--scale` have said so."""
        return read_frame(self.folder.frame)

    def camera(self, name: str) -> Camera:
        """The camera of a photograph by its name, or by its last part where that is unique.

        Raises:
            InputError: no camera, or several, of that name.
        """
        problem, remedy = "the camera is not of this scene", "Give such a name."
        return self.cameras[match_names([str(name)], list(self.cameras), "camera", problem, remedy)[str(name)]]

    def view(self, camera: Camera) -> PreparedView:
        """The projected Gaussians of a camera; the last few are kept."""
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        key = (np.ascontiguousarray(camera.world_to_camera).tobytes(), *numbers)
        return remembered(self._views, key, lambda: prepare_view(camera, self.gaussians), PREPARED_VIEWS)


def remembered(kept: "OrderedDict[Hashable, _V]", key: Hashable, compute: Callable[[], _V], most: int) -> _V:
    """The value under `key`, computed when it is not there; the `most` recently used ones stay."""
    value = kept.pop(key) if key in kept else compute()
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)
    return value
