"""A scene folder with three small photographs and nothing else."""

from pathlib import Path

import numpy as np
from PIL import Image

from workspace import SceneFolder


def write_picture(path: Path, size: tuple[int, int] = (120, 90), seed: int = 0, **options: object) -> None:
    """Smooth noise of a seed; `options` are those of Pillow's save."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, **options)


def photograph_scene(tmp_path: Path) -> SceneFolder:
    """Photographs with a dot in the name, a capital ending and a subfolder."""
    scene = SceneFolder(tmp_path / "scene")
    for seed, name in enumerate(("one.png", "a.b.JPG", "left/one.jpg")):
        write_picture(scene.images / name, seed=seed)
    return scene
