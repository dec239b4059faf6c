"""Objects in 3D against exact part maps: the true Gaussians of a phrase, and how well its instances agree with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from gaussian_renderer import prepare_view
from query.objects.boxes import Box, axis_aligned, weighted_center
from query.objects.instances import Instance
from scene.camera import Camera
from scene.gaussian_model import GaussianModel

MAJORITY = 0.5  # share of a Gaussian's blending weight that must fall on the pixels of its true object


@dataclass(frozen=True)
class Placed:
    """Where a group of Gaussians is."""

    center: Float[np.ndarray, "3"]
    """Opacity-weighted."""
    box: Box
    """1st to 99th percentile along each axis."""

    @classmethod
    def of(cls, means: Float[np.ndarray, "m 3"], opacities: Float[np.ndarray, " m"]) -> "Placed":
        """Position of one or more Gaussians."""
        points = means.astype(np.float64)
        return cls(weighted_center(points, opacities.astype(np.float64)), axis_aligned(points))

    @property
    def size(self) -> float:
        """Longest edge of the box."""
        return float(np.subtract(self.box.max, self.box.min).max())


@dataclass(frozen=True)
class Agreement:
    """The instances of one phrase against its true Gaussians."""

    precision: float
    """Share of the selected Gaussians that are true; 0 when nothing is selected."""
    recall: float
    iou: float
    hits: int
    """Instances with a majority of true Gaussians: 0 is a missed object, 2 or more a split one."""
    extra: int
    """Instances without."""
    center_error: float | None
    """Distance of the best instance's centre from the true one, in object sizes; None without an instance."""
    box_error: float | None
    """Mean distance of the six faces of its box from the true ones, in object sizes."""


@torch.inference_mode()
def part_weights(
    gaussians: GaussianModel, cameras: Sequence[Camera], parts_of: Callable[[Camera], Int[np.ndarray, "h w"]], num_parts: int
) -> Float[np.ndarray, "n parts"]:
    """Blending weight of every Gaussian on the pixels of every part, summed over the views, in pixels."""
    weights = torch.zeros(len(gaussians), num_parts, dtype=torch.float64, device=gaussians.means.device)
    for camera in cameras:
        labels = torch.from_numpy(parts_of(camera).astype(np.int32)).to(weights.device)
        rows = prepare_view(camera, gaussians).lift(labels[None]).levels[0]
        weights.index_put_((rows.gaussians, rows.labels.long()), rows.weights.double(), accumulate=True)
    return weights.cpu().numpy()


def true_gaussians(
    weights: Float[np.ndarray, "n parts"], phrases: Mapping[str, Sequence[int]]
) -> dict[str, Bool[np.ndarray, " n"]]:
    """For each phrase the Gaussians with a majority of their weight on the pixels of its parts."""
    total = weights.sum(1)
    return {phrase: weights[:, list(parts)].sum(1) > MAJORITY * total for phrase, parts in phrases.items()}


def agreement(
    instances: Sequence[Instance],
    truth: Bool[np.ndarray, " n"],
    means: Float[np.ndarray, "n 3"],
    opacities: Float[np.ndarray, " n"],
) -> Agreement:
    """Compare the instances of a phrase, best first, with its true Gaussians, of which there is at least one."""
    chosen = np.zeros(len(truth), bool)
    for instance in instances:
        chosen[instance.members] = True
    both = int((chosen & truth).sum())
    hits = sum(float(truth[instance.members].mean()) > MAJORITY for instance in instances)
    center_error = box_error = None
    if instances:
        true, best = (Placed.of(means[rows], opacities[rows]) for rows in (np.flatnonzero(truth), instances[0].members))
        size = max(true.size, 1e-12)
        center_error = float(np.linalg.norm(best.center - true.center)) / size
        faces = np.abs(np.subtract([best.box.min, best.box.max], [true.box.min, true.box.max]))
        box_error = float(faces.mean()) / size
    return Agreement(
        precision=both / max(int(chosen.sum()), 1),
        recall=both / int(truth.sum()),
        iou=both / int((chosen | truth).sum()),
        hits=hits,
        extra=len(instances) - hits,
        center_error=center_error,
        box_error=box_error,
    )
