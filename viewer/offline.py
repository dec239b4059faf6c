"""The scene as shown, as one HTML file that opens from disk: viser's page with the recorded scene in it."""

from typing import Any

import numpy as np

from query.phrase_answer import PhraseAnswer
from scene.gaussian_model import GaussianModel
from viewer.backends import Picture, add_splats, splat_colors
from viewer.geometry import Pose
from viewer.markers import add_boxes
from viewer.pages import start_pages, stop_pages


def offline_page(gaussians: GaussianModel, picture: Picture, answer: PhraseAnswer | None, pose: Pose, camera: Any) -> bytes:
    """Self-contained HTML with the splats in the colours of the state, and the boxes when objects are shown.

    The page turns around and zooms; it cannot be asked. viser records a server's scene, not a client's, so that a second server
    exists for a moment; nobody is told its port.
    """
    server = start_pages()
    try:
        add_splats(server.scene, gaussians, *splat_colors(gaussians, picture))
        if answer is not None and picture.state.show == "Objects":
            add_boxes(server.scene, answer, np.array(camera.up_direction))
        server.initial_camera.position = pose.position
        server.initial_camera.look_at = tuple(camera.look_at)
        server.initial_camera.up = tuple(camera.up_direction)
        server.initial_camera.fov = pose.fov
        return server.get_scene_serializer().as_html(dark_mode=True).encode()
    finally:
        stop_pages(server)
