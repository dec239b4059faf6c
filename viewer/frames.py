"""Pictures of the scene for one visitor, drawn on the server by the rasterizer."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from diff_gaussian_rasterization import PreparedView, evaluate_sh
from jaxtyping import Float, UInt8
from torch import Tensor

from gaussian_renderer import prepare_view
from gaussian_renderer.render_photographs import picture_bytes
from scene.camera import Camera
from scene.gaussian_model import SH_C0, GaussianModel
from viewer.overlay import DIMMED, Edited, Overlay
from viewer.worker import Stale

OUTLINED = 0.5  # share of a pixel's colour from the selected Gaussians, as for masks


@dataclass(eq=False)
class FrameRenderer:
    """Draws frames, and keeps the last camera's projection and photograph: another overlay then costs one pass."""

    gaussians: GaussianModel
    background: Float[Tensor, "3"]
    _scene: tuple[Edited, tuple[int, int, int], GaussianModel, Tensor | None] | None = None
    _view: tuple[object, PreparedView, Tensor] | None = None
    _laid: tuple[Overlay, Tensor] | None = None

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
        painted = prepared.rasterize(self._channels(overlay)).image
        share = painted[3:]
        result = pixels * ((1 - opacity * share) * (1 - opacity * DIMMED * (1 - share)))
        shading = 0.5 + 0.5 * pixels.mean(0).sqrt()  # part of the photograph's brightness, so that shapes stay legible
        picture = _bytes(result + opacity * painted[:3] * shading)
        if outlined:
            _outline(picture, (share[0] > OUTLINED).cpu().numpy())
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
        self._scene, self._view, self._laid = (edited, color, gaussians, painted), None, None

    def _channels(self, overlay: Overlay) -> Float[Tensor, "n 4"]:
        """The overlay's colours times its strength, and its strength, for the Gaussians that are there."""
        if self._laid is None or self._laid[0] is not overlay:
            rows = slice(None) if self._scene[0].kept is None else self._scene[0].kept
            strength = overlay.strength[rows, None]
            channels = np.concatenate([overlay.colors[rows] * strength, strength], 1)
            self._laid = (overlay, torch.from_numpy(channels).to(self.gaussians.means))
        return self._laid[1]

    def _photograph(self, camera: Camera, coarse: bool, stale: Stale) -> tuple[PreparedView, Float[Tensor, "3 h w"]] | None:
        key = (camera.world_to_camera.tobytes(), camera.fx, camera.fy, camera.width, camera.height, coarse)
        if self._view is not None and self._view[0] == key:
            return self._view[1:]
        _, color, gaussians, painted = self._scene
        prepared = prepare_view(camera, gaussians)
        if stale():
            return None
        if coarse:
            colors = (gaussians.sh_dc[:, 0] * SH_C0 + 0.5).clamp_min(0)
        else:
            center = torch.as_tensor(camera.center, dtype=torch.float32, device=gaussians.means.device)
            colors = evaluate_sh(gaussians.active_sh_degree, gaussians.means, center, gaussians.sh_coeffs)
        if painted is not None:
            colors[painted] = torch.tensor(color, device=colors.device) / 255
        if stale():
            return None
        pixels = prepared.rasterize(colors, self.background).image.clamp(0, 1)
        if not coarse:
            self._view = (key, prepared, pixels)
        return prepared, pixels


def _bytes(pixels: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.ascontiguousarray(picture_bytes(pixels))


def _outline(picture: UInt8[np.ndarray, "h w 3"], mask: np.ndarray) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(picture.shape[:2]) / 500))
    cv2.drawContours(picture, contours, -1, (255, 255, 255), thickness, cv2.LINE_AA)
