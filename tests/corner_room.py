"""Photographs of the corner of a textured room, with exact cameras: something structure from motion can really solve."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

FOCAL = 300.0


def texture(seed: int, size: int = 512) -> np.ndarray:
    """Noise at several scales: corners and blobs for SIFT near and far."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.random((size // s, size // s, 3), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        for s in (4, 8, 32)
    ]
    return np.clip(sum(layers) / len(layers) * 2 - 0.5, 0, 1)


TEXTURES = [texture(seed) for seed in range(3)]


def pose(index: int, count: int) -> np.ndarray:
    """World to camera on an arc that looks into the corner at the origin."""
    angle = np.pi / 4 + 0.5 * (index / (count - 1) - 0.5)
    center = np.array([3.2 * np.cos(angle), 3.2 * np.sin(angle), 1.3 + 0.3 * np.sin(3 * index)])
    forward = np.array([0.3, 0.3, 0.5]) - center
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ center
    return world_to_camera


def picture(world_to_camera: np.ndarray, width: int = 320, height: int = 240, focal: float = FOCAL) -> np.ndarray:
    """uint8 [h, w, 3] of the walls x = 0, y = 0 and the floor z = 0, drawn at twice the size and averaged."""
    x, y = np.meshgrid(np.arange(2 * width) + 0.5, np.arange(2 * height) + 0.5)
    rays = np.stack([(x / 2 - width / 2) / focal, (y / 2 - height / 2) / focal, np.ones_like(x)], -1) @ world_to_camera[:3, :3]
    center = -world_to_camera[:3, :3].T @ world_to_camera[:3, 3]
    with np.errstate(divide="ignore"):
        depth = np.where(rays < 0, -center / rays, np.inf)
    plane, hit = depth.argmin(-1), center + rays * depth.min(-1, keepdims=True)
    image = np.zeros((2 * height, 2 * width, 3), np.float32)
    for axis in range(3):
        u, v = (hit[..., i].astype(np.float32) * 130 % 511 for i in range(3) if i != axis)
        image = np.where((plane == axis)[..., None], cv2.remap(TEXTURES[axis], u, v, cv2.INTER_LINEAR), image)
    return (cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)


def write_photographs(folder: Path, count: int = 8) -> dict[str, np.ndarray]:
    """Photographs as users have them (a subfolder, upper-case extensions, one lying on its side); the true poses by name."""
    poses = {}
    for i in range(count):
        name = f"wall {i}.jpg" if i < 5 else f"more/IMG_{i}.JPG"
        image, exif = Image.fromarray(picture(pose(i, count))), Image.Exif()
        if i == 2:
            image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name, quality=95, exif=exif)
        poses[name] = pose(i, count)
    return poses
