"""The photographs that show an object best, and its box in each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from gaussian_renderer import prepare_view
from scene.camera import Camera
from scene.gaussian_model import GaussianModel

CANDIDATES = 8  # rendered views: those where the object would be largest without occlusion
WIDTH = 320  # pixels of these renderings
SEEN = 0.5  # minimum share of a pixel's colour that comes from the object


@dataclass(frozen=True)
class ObjectView:
    """One view of an object."""

    image: str
    box: tuple[int, int, int, int]
    """x_min, y_min, x_max, y_max in pixels of the view, inclusive."""
    share: float
    """Share of the view that the visible part of the object covers."""


@torch.inference_mode()
def best_views(
    members: Bool[np.ndarray, " n"], gaussians: GaussianModel, cameras: Sequence[Camera], count: int
) -> list[ObjectView]:
    """At most `count` views, largest share first; views that do not show it are left out."""
    means = gaussians.means[torch.from_numpy(members).to(gaussians.means.device)].cpu().numpy().astype(np.float64)
    ranked = sorted(cameras, key=lambda camera: -_projected_share(means, camera))[:CANDIDATES]
    channel = torch.from_numpy(members).to(gaussians.means).unsqueeze(1)
    found = [_seen_in(camera, gaussians, channel) for camera in ranked]
    return sorted((view for view in found if view is not None), key=lambda view: -view.share)[:count]


def _seen_in(camera: Camera, gaussians: GaussianModel, channel: Float[torch.Tensor, "n 1"]) -> ObjectView | None:
    width = min(WIDTH, camera.width)
    small = camera.resized(width, max(1, round(camera.height * width / camera.width)))
    seen = (prepare_view(small, gaussians).rasterize(channel).image[0] > SEEN).cpu().numpy()
    if not seen.any():
        return None
    scale_x, scale_y = camera.width / small.width, camera.height / small.height
    columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
    box = (columns[0] * scale_x, rows[0] * scale_y, (columns[-1] + 1) * scale_x - 1, (rows[-1] + 1) * scale_y - 1)
    return ObjectView(camera.name, tuple(round(value) for value in box), float(seen.mean()))


def _projected_share(means: Float[np.ndarray, "m 3"], camera: Camera) -> float:
    """Share of the view inside the box around the projected centres, times the share of the centres that are in view."""
    x, y, z = (means @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]).T
    front = z > 1e-6
    column = camera.fx * x[front] / z[front] + camera.cx
    row = camera.fy * y[front] / z[front] + camera.cy
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    if inside.sum() < 2:
        return 0.0
    area = np.ptp(column[inside]) * np.ptp(row[inside]) / (camera.width * camera.height)
    return float(area * inside.sum() / len(means))
