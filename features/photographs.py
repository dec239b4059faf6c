"""The photographs of a scene at the size for feature extraction."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from scene.camera import Camera
from scene.colmap import read_model
from scene.dataset import load_scene
from scene.photographs import check_photograph, load_image
from scene.picture_size import picture_size
from scene.transforms import read_nerfstudio
from workspace import InputError, SceneFolder, image_key

Photograph = tuple[Path, tuple[int, int] | None]  # file, and size of its camera when it has one
Photographs = dict[str, Photograph]  # by key


def scene_photographs(scene: SceneFolder) -> Photographs:
    """Photographs of a scene by key: all below `images/`, or without that folder those that its cameras name.

    The cameras' sizes are included, because they decide whether a photograph is used as stored or rotated
    by its EXIF orientation.
    """
    if not scene.images.is_dir() and scene.root.is_dir():
        found = load_scene(scene.root, eval=True)
        return {camera.name: (camera.image_path, (camera.width, camera.height)) for camera in found.train + found.test}
    sizes: dict[str, tuple[int, int]] = {}
    if scene.sparse.is_dir():
        model = read_model(scene.sparse)
        for image in model.images:
            camera = model.cameras[image.camera_id]
            sizes[image_key(image.name)] = (camera.width, camera.height)
    elif (scene.root / "transforms.json").is_file():
        cameras, _ = read_nerfstudio(scene.root, scene.images.name)
        sizes = {camera.name: (camera.width, camera.height) for camera in cameras}
    return {key: (path, sizes.get(key)) for key, path in scene.image_files().items()}


def read_photograph(
    key: str, path: Path, camera: tuple[int, int] | None, resolution: int
) -> tuple[UInt8[np.ndarray, "h w 3"], str]:
    """One photograph as RGB, and the digest of its file.

    `resolution` is that of `picture_size`; photographs are downscaled as for RGB training (`scene.photographs.load_image`).

    Raises:
        InputError: it cannot be decoded, or does not have the shape of its camera.
    """
    stored = check_photograph(path)
    if camera is None:
        size = (stored.height, stored.width) if stored.turned else (stored.width, stored.height)
    else:
        size = stored.seen_by(camera)
    if size is None:
        raise InputError(f"{path} is {stored.width}x{stored.height}, its camera {camera[0]}x{camera[1]}: another shape.")
    width, height = picture_size(*size, resolution)
    # reading a photograph uses only the size and the path of its camera
    camera_of_size = Camera(key, np.eye(4), float(width), float(width), width / 2, height / 2, width, height, path)
    return load_image(camera_of_size), stored.digest
