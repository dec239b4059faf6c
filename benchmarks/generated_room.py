"""The generated scene of the benchmarks: Gaussians on the walls of a room, and cameras in its middle.

Trained Gaussians lie on surfaces, so that a pixel blends a few dozen of them. Spread over a volume they overlap hundreds deep.
"""

import numpy as np
import torch

from scene.camera import Camera
from scene.gaussian_model import GaussianModel


def walls(count: int, generator: torch.Generator) -> GaussianModel:
    """Gaussians near the six faces of a cube of side 4, each as wide as the spacing."""
    points = 4 * torch.rand(count, 3, generator=generator) - 2
    side = torch.randint(3, (count, 1), generator=generator)
    sign = torch.randint(2, (count, 1), generator=generator) * 2.0 - 1
    points.scatter_(1, side, sign * (2 - 0.1 * torch.rand(count, 1, generator=generator)))
    gaussians = GaussianModel.from_points(points, torch.full((count, 3), 128.0))
    gaussians.log_scales[:] = np.log(1.2 * (6 * 16 / count) ** 0.5)
    gaussians.opacity_logits[:] = 1.0
    return gaussians


def camera(name: str, angle: float, width: int, height: int) -> Camera:
    """A camera 0.8 behind the middle of the room, looking at `angle` radians about the vertical axis."""
    forward = np.array([np.cos(angle), 0.2 * np.sin(3 * angle), np.sin(angle)])
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    world_to_camera[:3, 3] = world_to_camera[:3, :3] @ (0.8 * forward)
    focal = 0.8 * width
    return Camera(name, world_to_camera, focal, focal, width / 2, height / 2, width, height)
