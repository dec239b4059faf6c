"""What is drawn over a picture in 3D: boxes and names of instances, and the point that was clicked."""

from typing import Any

import numpy as np

from query.phrase_answer import PhraseAnswer
from query.pictures import class_colors

# the twelve edges of a box between corners whose bits are x, y, z
EDGES = [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit]
POINT = 0.008  # radius of the clicked point, in multiples of its distance


class Markers:
    """Scene nodes of one visitor."""

    def __init__(self, scene: Any):
        self._scene = scene
        self._boxes: list[Any] = []
        self._points: list[Any] = []

    def show(self, answer: PhraseAnswer | None) -> None:
        """Boxes of the answer's instances; none without an answer."""
        for handle in self._boxes:
            handle.remove()
        self._boxes = [] if answer is None else add_boxes(self._scene, answer)

    def point(self, position: tuple[float, float, float] | None, distance: float = 1.0, name: str = "") -> None:
        """The clicked point, at a distance from the camera; none without a position."""
        for handle in self._points:
            handle.remove()
        self._points = []
        if position is not None:
            sphere = self._scene.add_icosphere("/clicked", POINT * distance, (255, 220, 80), position=position)
            self._points = [sphere]
            if name:
                self._points.append(self._scene.add_label("/clicked_name", name, position=position))


def add_boxes(scene: Any, answer: PhraseAnswer) -> list[Any]:
    """Oriented boxes and names of the answer's instances as nodes of a viser scene."""
    frame, handles = answer.model.frame, []
    back = frame.rotation / (1.0 if frame.scale is None else frame.scale)  # rows: from the told frame to the scene's
    bits = np.array([[corner >> axis & 1 for axis in range(3)] for corner in range(8)]) - 0.5
    for number, (one, color) in enumerate(zip(answer.objects(views=0), class_colors(len(answer.instances)), strict=True), 1):
        box = one.oriented_box
        corners = (np.array(box.center) + bits * np.array(box.size) @ np.array(box.axes)) @ back
        lines = corners[np.array(EDGES)]
        name, shade = f"/objects/{number}", tuple(int(part) for part in color)
        handles.append(scene.add_line_segments(f"{name}/box", lines, shade, thickness=2.0, thickness_units="screen"))
        top = corners[np.argmax(corners @ np.array(_upward(frame)))]
        handles.append(
            scene.add_label(f"{name}/name", f"{one.phrase} {number}: {one.score:.2f}", position=top, anchor="bottom-center")
        )
    return handles


def _upward(frame: Any) -> tuple[float, float, float]:
    return (0.0, -1.0, 0.0) if frame.up is None else frame.up
