"""A scene small enough to train in a second: photographs of forty coloured Gaussians, cameras and noisy points."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gaussian_renderer import render
from scene.camera import Camera
from scene.gaussian_model import GaussianModel

WIDTH, HEIGHT, NUM_VIEWS = 40, 28, 13


def _camera(index):
    """On a half circle of radius 4 around the origin, looking at it."""
    angle = math.pi * index / NUM_VIEWS
    center = np.array([4 * math.cos(angle), -0.5, 4 * math.sin(angle)])
    forward = -center / np.linalg.norm(center)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = rotation, -rotation @ center
    return Camera(f"view_{index:02d}", world_to_camera, 36.0, 36.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


def write_small_scene(root: Path) -> Path:
    """Fill `root` with images/ and a nerfstudio transforms.json; views 00 and 08 are those that --eval holds out."""
    generator = torch.Generator().manual_seed(1)
    points = (torch.rand(40, 3, generator=generator) - 0.5) * 2.4
    colors = torch.rand(40, 3, generator=generator)
    world = GaussianModel.from_points(points, colors * 255)
    world.log_scales[:] = math.log(0.18)
    world.opacity_logits[:] = 3.0
    (root / "images").mkdir()
    frames = []
    for index in range(NUM_VIEWS):
        camera = _camera(index)
        image = render(camera, world, torch.zeros(3)).image.clamp(0, 1).permute(1, 2, 0).numpy()
        Image.fromarray((image * 255 + 0.5).astype(np.uint8)).save(root / "images" / f"{camera.name}.png")
        pose = np.linalg.inv(camera.world_to_camera) @ np.diag([1.0, -1, -1, 1])
        frames.append({"file_path": f"images/{camera.name}.png", "transform_matrix": pose.tolist()})
    noisy = points + 0.05 * torch.randn(40, 3, generator=generator)
    _save_points(root / "points.ply", noisy, (colors * 255).byte())
    shape = {"fl_x": 36, "fl_y": 36, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT, "camera_model": "OPENCV"}
    text = json.dumps({**shape, "ply_file_path": "points.ply", "frames": frames})
    (root / "transforms.json").write_text(text)
    return root


def _save_points(path, xyz, rgb):
    rows = [f"{x} {y} {z} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(xyz.tolist(), rgb.tolist(), strict=True)]
    properties = [f"property float {name}" for name in "xyz"] + [f"property uchar {name}" for name in ("red", "green", "blue")]
    path.write_text("\n".join(["ply", "format ascii 1.0", f"element vertex {len(rows)}", *properties, "end_header", *rows, ""]))
