"""Rendering Gaussians from a camera: passes cameras and Gaussians to the rasterizer, which has neither type."""

import torch
from diff_gaussian_rasterization import PreparedView, Rendering, View, evaluate_sh, prepare, rasterize
from jaxtyping import Float
from torch import Tensor

from scene.camera import Camera
from scene.gaussian_model import GaussianModel

__all__ = ["prepare_view", "render", "view_of"]


def view_of(camera: Camera) -> View:
    """The camera as the rasterizer's `View`, its matrix in float32 on the CPU, where every call reads it."""
    world_to_camera = torch.as_tensor(camera.world_to_camera, dtype=torch.float32, device="cpu")
    return View(world_to_camera, camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)


def render(
    camera: Camera,
    gaussians: GaussianModel,
    background: Float[Tensor, " d"] | None,
    features: Float[Tensor, "n d"] | None = None,
    means2d: Float[Tensor, "n 2"] | None = None,
) -> Rendering:
    """Blend the Gaussians front to back: their view-dependent colours or, if given, `features`.

    Colours are RGB in the photographs' range 0..1 but not clamped from above. `background` None is black: no term is added.
    `means2d` receives the gradient at the projected means in normalised device units; its values are not used.
    """
    if features is None:
        center = torch.as_tensor(camera.center, dtype=torch.float32, device="cpu")  # reading it from a GPU would wait for it
        features = evaluate_sh(gaussians.active_sh_degree, gaussians.means, center, gaussians.sh_coeffs)
    return rasterize(
        view_of(camera),
        gaussians.means,
        gaussians.scales,
        gaussians.rotations,
        gaussians.opacities,
        features,
        background=background,
        means2d=means2d,
    )


def prepare_view(camera: Camera, gaussians: GaussianModel) -> PreparedView:
    """Project and sort frozen Gaussians once, for any number of renderings of their features from this camera."""
    with torch.no_grad():
        return prepare(
            view_of(camera),
            gaussians.means,
            gaussians.scales,
            gaussians.rotations,
            gaussians.opacities,
        )
