"""`objects.json`: the output for robots and scripts. Its schema is docs/objects.schema.json; `version` counts its changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from query.objects.boxes import Box, OrientedBox, axis_aligned, oriented, weighted_center
from query.objects.coordinates import Frame
from query.objects.instances import Instance
from query.objects.views import ObjectView

VERSION = 1
DIGITS = 6  # significant digits of lengths; float32 positions have seven


@dataclass(frozen=True)
class LocatedObject:
    """One instance of a phrase, in the output frame of the model."""

    phrase: str
    instance: int
    """Counted from 1 within the phrase, best first."""
    level: str
    score: float
    gaussians: int
    center: tuple[float, float, float]
    box: Box
    oriented_box: OrientedBox
    views: tuple[ObjectView, ...]
    indices: str
    """File of the Gaussians' indices, relative to objects.json: int64 .npy, ascending."""

    @classmethod
    def of(
        cls,
        phrase: str,
        number: int,
        level: str,
        instance: Instance,
        means: Float[np.ndarray, "n 3"],
        opacities: Float[np.ndarray, " n"],
        frame: Frame,
        views: Sequence[ObjectView],
        indices: str,
    ) -> "LocatedObject":
        """Describe one instance; `means` in scene coordinates."""
        points = frame.told(means[instance.members].astype(np.float64))
        center = weighted_center(points, opacities[instance.members].astype(np.float64))
        return cls(
            phrase,
            number,
            level,
            instance.score,
            len(instance.members),
            tuple(map(float, center)),
            axis_aligned(points),
            oriented(points, upright=frame.up is not None),
            tuple(views),
            indices,
        )

    def as_json(self) -> dict[str, Any]:
        """The entry in objects.json."""
        return {
            "phrase": self.phrase,
            "instance": self.instance,
            "level": self.level,
            "score": round(self.score, 4),
            "gaussians": self.gaussians,
            "center": _rounded(self.center),
            "box": {"min": _rounded(self.box.min), "max": _rounded(self.box.max)},
            "oriented_box": {
                "center": _rounded(self.oriented_box.center),
                "size": _rounded(self.oriented_box.size),
                "axes": [_rounded(axis) for axis in self.oriented_box.axes],
            },
            "views": [{"image": v.image, "box": list(v.box), "share": round(v.share, 5)} for v in self.views],
            "indices": self.indices,
        }


def document(phrases: Sequence[str], located: Sequence[LocatedObject], frame: Frame, settings: dict[str, Any]) -> dict[str, Any]:
    """The whole of objects.json. A phrase without an object is listed in `phrases` only: no instance is a valid answer."""
    return {
        "version": VERSION,
        "frame": {"axes": frame.name, "rotation": [_rounded(row) for row in frame.rotation.tolist()], "scale": frame.scale},
        "units": frame.units,
        "settings": settings,
        "phrases": list(phrases),
        "objects": [found.as_json() for found in located],
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
