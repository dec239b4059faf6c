"""A small COLMAP scene written by COLMAP itself, with photographs of the right size."""

from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

WIDTH, HEIGHT = 64, 48


def write_scene(root: Path, model: str = "PINHOLE", params: tuple = (60.0, 61.0, 31.0, 25.5), form: str = "binary"):
    """Six registered photographs, 40 points. Returns pycolmap's own view of what it wrote."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_frames_per_rig=6, num_points3D=40, camera_width=WIDTH, camera_height=HEIGHT,
        camera_model_id=getattr(pycolmap.CameraModelId, model), camera_params=list(params),
    )  # fmt: skip
    reconstruction = pycolmap.synthesize_dataset(options)
    # COLMAP's synthetic cameras stand upright; turned, every term of a rotation counts
    turn = pycolmap.Rotation3d(np.array([0.3, -0.5, 0.7, 0.4]) / np.linalg.norm([0.3, -0.5, 0.7, 0.4]))
    reconstruction.transform(pycolmap.Sim3d(1.0, turn, np.zeros(3)))
    for i, image in enumerate(sorted(reconstruction.images.values(), key=lambda image: image.image_id)):
        image.name = f"left/view {5 - i}.png" if i % 2 else f"view {5 - i}.png"  # names out of the order of ids
    sparse = root / "sparse" / "0"
    sparse.mkdir(parents=True)
    reconstruction.write_binary(sparse) if form == "binary" else reconstruction.write_text(sparse)
    for image in reconstruction.images.values():
        write_photograph(root / "images" / image.name)
    return reconstruction


def write_photograph(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), **options) -> np.ndarray:
    """A noisy picture, so that a cut JPEG or PNG is really cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels
