"""How well two sets of cameras of the same photographs agree, whatever frame each is in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Agreement:
    """Differences after alignment. Centres in fractions of the radius, the mean distance of the second set's cameras from
    their mean; rotations in degrees."""

    cameras: int
    mean_center: float
    max_center: float
    mean_rotation: float
    max_rotation: float


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> tuple[float, Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Scale, rotation and translation that take `source` to `target` with the least squared error (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, singular, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])  # a rotation, never a reflection
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / (a**2).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def compare_poses(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> Agreement | None:
    """Agreement of two sets of world-to-camera matrices [3 or 4, 4] by name; None with fewer than 3 names in both."""
    names = sorted(first.keys() & second.keys())
    if len(names) < 3:
        return None
    a, b = (np.stack([np.asarray(poses[name])[:3] for name in names]) for poses in (first, second))
    centers_a, centers_b = (-np.einsum("nji,nj->ni", pose[:, :, :3], pose[:, :, 3]) for pose in (a, b))
    scale, rotation, translation = similarity(centers_a, centers_b)
    radius = np.linalg.norm(centers_b - centers_b.mean(0), axis=1).mean()
    distances = np.linalg.norm(scale * centers_a @ rotation.T + translation - centers_b, axis=1) / radius
    # a camera sees the same in both worlds when R_a = R_b Q, with Q the rotation between the worlds
    between = np.einsum("nij,kj,nlk->nil", a[:, :, :3], rotation, b[:, :, :3])
    angles = np.degrees(np.arccos(np.clip((np.trace(between, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return Agreement(len(names), float(distances.mean()), float(distances.max()), float(angles.mean()), float(angles.max()))
