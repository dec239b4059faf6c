"""Agreement of two sets of camera poses of the same photographs, up to a similarity transform."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Agreement:
    """Pose differences after alignment. Centre differences are fractions of the radius, the mean distance of the second set's
    cameras from their mean; rotation differences are in degrees."""

    cameras: int
    mean_center: float
    max_center: float
    mean_rotation: float
    max_rotation: float


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> tuple[float, Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Scale, rotation and translation of the least-squares similarity from `source` to `target` (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, singular, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])  # a rotation, never a reflection
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / (a**2).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def compare_poses(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> Agreement | None:
    """Agreement of two sets of world-to-camera matrices [3 or 4, 4] by name; None with fewer than 3 shared names."""
    names = sorted(first.keys() & second.keys())
    if len(names) < 3:
        return None
    a, b = (np.stack([np.asarray(poses[name])[:3] for name in names]) for poses in (first, second))
    centers_a, centers_b = (-np.einsum("nji,nj->ni", pose[:, :, :3], pose[:, :, 3]) for pose in (a, b))
    scale, rotation, translation = similarity(centers_a, centers_b)
    radius = np.linalg.norm(centers_b - centers_b.mean(0), axis=1).mean()
    distances = np.linalg.norm(scale * centers_a @ rotation.T + translation - centers_b, axis=1) / radius
    # equal orientations have R_a = R_b Q, where Q rotates the first world frame to the second
    between = np.einsum("nij,kj,nlk->nil", a[:, :, :3], rotation, b[:, :, :3])
    angles = np.degrees(np.arccos(np.clip((np.trace(between, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return Agreement(len(names), float(distances.mean()), float(distances.max()), float(angles.mean()), float(angles.max()))
