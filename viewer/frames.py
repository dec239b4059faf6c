"""Pictures of the scene for one visitor, drawn on the server by the rasterizer."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from diff_gaussian_rasterization import PreparedView, evaluate_sh
from jaxtyping import Float, UInt8
from torch import Tensor

from gaussian_renderer import prepare_view
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from viewer.overlay import DIMMED, Edited, Overlay
from viewer.worker import Stale

OUTLINED = 0.5  # share of a pixel's colour from the selected Gaussians, as for masks


@dataclass(eq=False)
class FrameRenderer:
    """Draws frames, and keeps the last camera's projection and photograph: another overlay then costs one pass."""

    gaussians: GaussianModel
    background: Float[Tensor, "3"]
    _scene: tuple[Edited, tuple[int, int, int], GaussianModel, Tensor | None] | None = None
    _view: tuple[object, PreparedView, np.ndarray] | None = field(default=None)

    @torch.inference_mode()
    def frame(
        self,
        camera: Camera,
        edited: Edited,
        color: tuple[int, int, int],
        overlay: Overlay | None,
        opacity: float,
        outlined: bool = False,
        coarse: bool = False,
        stale: Stale = lambda: False,
    ) -> UInt8[np.ndarray, "h w 3"] | None:
        """The picture from a camera; None once it has become `stale`.

        Args:
            camera: where from, and how large.
            edited: which Gaussians are there and which are painted.
            color: of painted Gaussians, 0 to 255.
            overlay: laid over the photograph with `opacity` in [0, 1].
            opacity: of the overlay.
            outlined: draw the border of the overlay.
            coarse: for a moving camera: colours without their dependence on the view, and nothing is kept.
            stale: asked between the steps.
        """
        self._edit(edited, color)
        photo = self._photograph(camera, coarse, stale)
        if photo is None or stale():
            return None
        prepared, pixels = photo
        if overlay is None:
            return _bytes(pixels)
        rows = slice(None) if edited.kept is None else edited.kept
        strength = overlay.strength[rows, None]
        channels = torch.from_numpy(np.concatenate([overlay.colors[rows] * strength, strength], 1)).to(self.gaussians.means)
        painted = prepared.rasterize(channels).image.permute(1, 2, 0).cpu().numpy()
        share = painted[..., 3:]
        result = pixels * ((1 - opacity * share) * (1 - opacity * DIMMED * (1 - share)))
        result += opacity * painted[..., :3] * _shading(pixels)
        picture = _bytes(result)
        if outlined:
            _outline(picture, share[..., 0] > OUTLINED)
        return picture

    def _edit(self, edited: Edited, color: tuple[int, int, int]) -> None:
        """Take over an edit; the last projection is of other Gaussians then."""
        if self._scene is not None and self._scene[0] is edited and (edited.painted is None or self._scene[1] == color):
            return
        gaussians, painted, device = self.gaussians, None, self.gaussians.means.device
        if edited.kept is not None:
            gaussians = gaussians.subset(torch.from_numpy(edited.kept).to(device))
        if edited.painted is not None:
            painted = torch.from_numpy(edited.painted).to(device)
        self._scene, self._view = (edited, color, gaussians, painted), None

    def _photograph(self, camera: Camera, coarse: bool, stale: Stale) -> tuple[PreparedView, Float[np.ndarray, "h w 3"]] | None:
        key = (camera.world_to_camera.tobytes(), camera.fx, camera.fy, camera.width, camera.height, coarse)
        if self._view is not None and self._view[0] == key:
            return self._view[1:]
        _, color, gaussians, painted = self._scene
        prepared = prepare_view(camera, gaussians)
        if stale():
            return None
        degree = 0 if coarse else gaussians.active_sh_degree
        center = torch.as_tensor(camera.center, dtype=torch.float32, device=gaussians.means.device)
        colors = evaluate_sh(degree, gaussians.means, center, gaussians.sh_coeffs)
        if painted is not None:
            colors[painted] = torch.tensor(color, device=colors.device) / 255
        if stale():
            return None
        image = prepared.rasterize(colors, self.background).image
        pixels = image.permute(1, 2, 0).clamp(0, 1).cpu().numpy()
        if not coarse:
            self._view = (key, prepared, pixels)
        return prepared, pixels


def _shading(pixels: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 1"]:
    """Brightness of the overlay: part of the photograph's shows through, so that shapes stay legible."""
    return 0.5 + 0.5 * np.sqrt(pixels.mean(2, keepdims=True))


def _bytes(pixels: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.ascontiguousarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def _outline(picture: UInt8[np.ndarray, "h w 3"], mask: np.ndarray) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(picture.shape[:2]) / 500))
    cv2.drawContours(picture, contours, -1, (255, 255, 255), thickness, cv2.LINE_AA)
