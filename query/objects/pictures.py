"""Pictures of located objects: the photograph that shows an instance best, its outline, and its box in space."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from gaussian_renderer import prepare_view
from query.objects.boxes import EDGES, OrientedBox
from query.objects.coordinates import Frame
from query.objects.views import SEEN
from query.pictures import OUTLINE
from scene.camera import Camera
from scene.gaussian_model import GaussianModel

BOX = (255, 196, 0)  # RGB of the box's edges
HALO = (0, 0, 0)  # around lines, so that they are seen on any photograph
SAMPLES = 33  # points of an edge: only the part of it in front of the camera is drawn
NEAREST = 1e-3  # depth below which a point is not drawn, in multiples of the box's diagonal


@torch.inference_mode()
def instance_picture(
    photo: UInt8[np.ndarray, "h w 3"],
    camera: Camera,
    gaussians: GaussianModel,
    members: Bool[np.ndarray, " n"],
    box: OrientedBox,
    frame: Frame,
) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph with the visible outline of an instance in white and its oriented box in yellow.

    Args:
        photo: of any size; the camera is resized to it.
        camera: of the photograph.
        gaussians: of the scene.
        members: True for those of the instance.
        box: in the output frame.
        frame: from scene to output coordinates.
    """
    height, width = photo.shape[:2]
    view = camera.resized(width, height)
    channel = torch.from_numpy(members).to(gaussians.means).unsqueeze(1)
    seen = (prepare_view(view, gaussians).rasterize(channel).image[0] > SEEN).cpu().numpy()
    thickness = max(1, round(min(height, width) / 240))
    picture = photo.copy()
    lines = _visible_edges(frame.scene(box.corners), view)
    outlines, _ = cv2.findContours(seen.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for extra, box_color, outline_color in ((2, HALO, HALO), (0, BOX, OUTLINE)):
        cv2.polylines(picture, lines, False, box_color, thickness + extra, cv2.LINE_AA)
        cv2.drawContours(picture, outlines, -1, outline_color, thickness + extra, cv2.LINE_AA)
    return picture


def _visible_edges(corners: Float[np.ndarray, "8 3"], camera: Camera) -> Sequence[np.ndarray]:
    """Pixel polylines of the box's edges, without what is behind the camera."""
    share = np.linspace(0, 1, SAMPLES)[:, None]
    nearest = NEAREST * np.linalg.norm(corners[7] - corners[0])
    lines = []
    for first, last in EDGES:
        points = corners[first] * (1 - share) + corners[last] * share
        x, y, z = (points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]).T
        front = z > max(nearest, 1e-9)
        if front.sum() > 1:
            pixels = np.stack([camera.fx * x[front] / z[front] + camera.cx, camera.fy * y[front] / z[front] + camera.cy], 1)
            lines.append(np.rint(pixels.clip(-1e4, 1e4)).astype(np.int32))
    return lines
