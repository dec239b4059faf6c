"""How well two models of the same photographs agree, after the similarity that takes one to the other.

    python benchmarks/compare_cameras.py <scene> <other scene>

Cameras are paired by image name. Distances are in per cent of the radius: the mean distance of the second scene's cameras
from their centre.
"""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, as the scripts at the root

from scene.colmap import ColmapImage, read_model
from workspace import SceneFolder, image_key


def align(source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation, translation with the least squares error from source to target (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, singular, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = (singular * np.diag(sign)).sum() / (a**2).sum()
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def compare(ours: dict[str, ColmapImage], theirs: dict[str, ColmapImage]) -> dict[str, float]:
    """Differences of the cameras both models hold: centres in per cent of the radius, rotations in degrees."""
    names = sorted(ours.keys() & theirs.keys())
    poses = [np.stack([model[name].world_to_camera for name in names]) for model in (ours, theirs)]
    centers = [-np.einsum("nji,nj->ni", pose[:, :3, :3], pose[:, :3, 3]) for pose in poses]
    scale, rotation, translation = align(*centers)
    offsets = np.linalg.norm(scale * centers[0] @ rotation.T + translation - centers[1], axis=1)
    radius = np.linalg.norm(centers[1] - centers[1].mean(0), axis=1).mean()
    turned = np.einsum(
        "nij,kj,nlk->nil", poses[0][:, :3, :3], rotation, poses[1][:, :3, :3].transpose(0, 2, 1).transpose(0, 2, 1)
    )
    angles = np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return {
        "cameras in both": len(names),
        "centres, mean %": 100 * offsets.mean() / radius,
        "centres, max %": 100 * offsets.max() / radius,
        "rotations, mean degrees": angles.mean(),
        "rotations, max degrees": angles.max(),
    }


def main(first: str, second: str) -> None:
    """Print the comparison of two scene folders."""
    models = [{image_key(i.name): i for i in read_model(SceneFolder(Path(root)).sparse).images} for root in (first, second)]
    print(f"cameras: {len(models[0])} and {len(models[1])}")
    for name, value in compare(*models).items():
        print(f"{name:<26}{value:.4g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
