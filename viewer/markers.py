"""What is drawn over a picture in 3D: boxes and names of instances, and the point that was clicked."""

from typing import Any

import numpy as np
from jaxtyping import Float

from query.objects.boxes import CORNERS, EDGES, oriented
from query.objects.coordinates import Frame
from query.phrase_answer import PhraseAnswer
from query.pictures import class_colors
from query.tables import shortened

POINT = 0.008  # radius of the clicked point, in multiples of its distance


class Markers:
    """Scene nodes of one visitor."""

    def __init__(self, scene: Any, up: Float[np.ndarray, "3"]):
        """`up` is the direction in which boxes stand."""
        self._scene, self._up = scene, up
        self._boxes: list[Any] = []
        self._points: list[Any] = []

    def show(self, answer: PhraseAnswer | None) -> None:
        """Boxes of the answer's instances; none without an answer."""
        for handle in self._boxes:
            handle.remove()
        self._boxes = [] if answer is None else add_boxes(self._scene, answer, self._up)

    def point(self, position: tuple[float, float, float] | None, distance: float = 1.0, name: str = "") -> None:
        """The clicked point, at a distance from the camera; none without a position."""
        for handle in self._points:
            handle.remove()
        self._points = []
        if position is not None:
            sphere = self._scene.add_icosphere("/clicked", POINT * distance, (255, 220, 80), position=position)
            self._points = [sphere]
            if name:
                self._points.append(self._scene.add_label("/clicked_name", shortened(name), position=position))


def add_boxes(scene: Any, answer: PhraseAnswer, up: Float[np.ndarray, "3"]) -> list[Any]:
    """Upright boxes and names of the answer's instances as nodes of a viser scene; `up` is a direction in its coordinates."""
    upright, handles = Frame(tuple(map(float, up))), []
    means = answer.model.gaussians.means.cpu().numpy().astype(np.float64)
    for number, (instance, color) in enumerate(zip(answer.instances, class_colors(len(answer.instances)), strict=True), 1):
        box = oriented(upright.told(means[instance.members]), upright=True)
        corners = upright.scene(box.corners)
        lines, shade = corners[np.array(EDGES)], tuple(int(part) for part in color)
        name, top = f"/objects/{number}", corners[CORNERS[:, 2] > 0].mean(0)
        handles.append(scene.add_line_segments(f"{name}/box", lines, shade, thickness=2.0, thickness_units="screen"))
        label = f"{shortened(answer.phrase)} {number}: {instance.score:.2f}"
        handles.append(scene.add_label(f"{name}/name", label, position=top, anchor="bottom-center"))
    return handles
