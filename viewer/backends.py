"""Two ways to show the same state: pictures drawn on the server, or splats drawn by the browser."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float

from query.opened_scene import OpenedScene
from scene.gaussian_model import SH_C0, GaussianModel
from viewer.frames import FrameRenderer
from viewer.geometry import Pose
from viewer.overlay import DIMMED, Edited, Overlay
from viewer.state import ViewState
from viewer.worker import Stale, Worker

STILL_AFTER = 0.15  # seconds without movement after which the full picture is drawn
COARSE = (160, 640)  # pixels, smallest and largest longer side while moving
FRAME_SECONDS = (1 / 24, 1 / 10)  # a coarse frame that takes less becomes larger, one that takes more smaller
QUALITY = {True: 60, False: 88}  # JPEG, coarse or still


@dataclass(frozen=True)
class Picture:
    """What a back end is to show."""

    state: ViewState
    overlay: Overlay | None
    edited: Edited


class Backend(Protocol):
    """Shows pictures to one visitor."""

    def show(self, picture: Picture, pose: Pose) -> None:
        """The state has changed."""

    def moved(self, picture: Picture, pose: Pose) -> None:
        """The camera has moved."""


class ServerPictures:
    """Background images from the rasterizer: coarse while the camera moves, full once it is still."""

    def __init__(self, scene: OpenedScene, worker: Worker, client: Any, largest: int, failed: Callable[[Exception], None]):
        self._renderer = FrameRenderer(scene.gaussians, scene.session.field.trained.background)
        self._worker, self._client, self._failed = worker, client, failed
        self._largest = largest
        self._coarse = float(COARSE[0] * 2)

    def show(self, picture: Picture, pose: Pose) -> None:
        """Draw the full picture as soon as it is the visitor's turn."""
        self._submit("still", picture, pose, coarse=False)

    def moved(self, picture: Picture, pose: Pose) -> None:
        """Draw a coarse picture now and the full one when nothing has moved for a while."""
        self._submit("moving", picture, pose, coarse=True)
        self._submit("still", picture, pose, coarse=False, delay=STILL_AFTER)

    def _submit(self, kind: str, picture: Picture, pose: Pose, coarse: bool, delay: float = 0.0) -> None:
        future = self._worker.submit(self._client.client_id, kind, lambda stale: self._draw(picture, pose, coarse, stale), delay)
        future.add_done_callback(lambda done: done.cancelled() or done.exception() is None or self._failed(done.exception()))

    def _draw(self, picture: Picture, pose: Pose, coarse: bool, stale: Stale) -> None:
        started = time.perf_counter()
        size = min(self._coarse, self._largest) if coarse else self._largest
        state = picture.state
        pixels = self._renderer.frame(
            pose.camera(pose.width_within(round(size))),
            picture.edited,
            state.color,
            picture.overlay,
            state.opacity,
            outlined=state.show in ("Mask", "Objects"),
            coarse=coarse,
            stale=stale,
        )
        if pixels is None:
            return
        self._client.scene.set_background_image(pixels, format="jpeg", jpeg_quality=QUALITY[coarse])
        if coarse:
            self._adapt(time.perf_counter() - started)

    def _adapt(self, seconds: float) -> None:
        factor = 1.25 if seconds < FRAME_SECONDS[0] else 0.8 if seconds > FRAME_SECONDS[1] else 1.0
        self._coarse = float(np.clip(self._coarse * factor, *COARSE))


class BrowserSplats:
    """Splats sent to the browser once; another state sends their colours. Colours do not depend on the view."""

    def __init__(self, scene: OpenedScene, worker: Worker, client: Any, failed: Callable[[Exception], None]):
        self._gaussians, self._worker, self._client, self._failed = scene.gaussians, worker, client, failed
        self._handle: Any = None
        self._shown: Picture | None = None

    def show(self, picture: Picture, pose: Pose) -> None:
        """Send what has changed."""
        future = self._worker.submit(self._client.client_id, "still", lambda stale: self._send(picture))
        future.add_done_callback(lambda done: done.cancelled() or done.exception() is None or self._failed(done.exception()))

    def moved(self, picture: Picture, pose: Pose) -> None:
        """Nothing: the browser draws."""
        if self._shown is None:
            self.show(picture, pose)

    def _send(self, picture: Picture) -> None:
        rgb, opacities = splat_colors(self._gaussians, picture)
        if self._handle is None:
            self._handle = add_splats(self._client.scene, self._gaussians, rgb, opacities)
        else:
            with self._client.atomic():
                self._handle.rgbs = rgb
                if self._shown is None or picture.edited is not self._shown.edited:
                    self._handle.opacities = opacities
        self._shown = picture


def splat_colors(gaussians: GaussianModel, picture: Picture) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 1"]]:
    """Colours and opacities of the state, per Gaussian."""
    rgb = (gaussians.sh_dc[:, 0] * SH_C0 + 0.5).clamp(0, 1).cpu().numpy()
    opacities = gaussians.opacities.cpu().numpy()[:, None]
    state, edited = picture.state, picture.edited
    if edited.painted is not None:
        rgb[edited.painted] = np.float32(state.color) / 255
    if picture.overlay is not None:
        share = state.opacity * picture.overlay.strength[:, None]
        rest = 1 - state.opacity * DIMMED * (1 - picture.overlay.strength[:, None])
        rgb = rgb * rest * (1 - share) + picture.overlay.colors * share
    if edited.kept is not None:
        opacities = opacities * edited.kept[:, None]
    return np.ascontiguousarray(rgb, np.float32), np.ascontiguousarray(opacities, np.float32)


@torch.inference_mode()
def add_splats(scene: Any, gaussians: GaussianModel, rgb: Float[np.ndarray, "n 3"], opacities: Float[np.ndarray, "n 1"]) -> Any:
    """Add the Gaussians to a viser scene.

    Covariances travel in half precision, in which variances below 6e-8 vanish: lengths are sent in units of the median standard
    deviation, and scaled back by the browser.
    """
    unit = float(gaussians.scales.median().clamp_min(1e-12))
    axes = _rotation_matrices(gaussians.rotations) * (gaussians.scales / unit)[:, None, :]
    covariances = (axes @ axes.transpose(1, 2)).clamp(-6e4, 6e4).cpu().numpy()  # half precision ends at 65504
    centers = (gaussians.means / unit).cpu().numpy()
    return scene.add_gaussian_splats("/splats", centers, covariances, rgb, opacities, scale=unit)


def _rotation_matrices(quaternions: Float[torch.Tensor, "n 4"]) -> Float[torch.Tensor, "n 3 3"]:
    w, x, y, z = quaternions.unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).reshape(-1, 3, 3)
