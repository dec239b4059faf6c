"""Dense patch features on disk: one grid of tokens per image."""

import zipfile

import numpy as np
from jaxtyping import Float16

from workspace import InputError, SceneFolder, load_array, save_array


def has_grid(scene: SceneFolder, key: str) -> bool:
    """Whether image `key` has a grid of ours."""
    return scene.patch_grid(key).is_file()


def write_grid(scene: SceneFolder, key: str, grid: Float16[np.ndarray, "h w d"]) -> None:
    """Write the patch tokens of one image, at the image's own aspect unless it was squashed on purpose."""
    save_array(scene.patch_grid(key), grid)


def read_grid(scene: SceneFolder, key: str) -> Float16[np.ndarray, "h w d"]:
    """Read the patch tokens of image `key`, ours or DinoSplat's (`arr_0` [d, h, w] in an .npz).

    The grid covers the whole image: patch (0, 0) is the top left corner.

    Raises:
        InputError: there is neither file, or it is unreadable or of another shape.
    """
    path, foreign = scene.patch_grid(key), scene.foreign_patch_grid(key)
    if path.is_file():
        grid = load_array(path)
    elif foreign.is_file():
        path, grid = foreign, _read_foreign(foreign)
    else:
        raise InputError(
            f"No patch features for image '{key}' in {scene.dino_features}. "
            f"Run: python preprocess.py -s {scene.root} --features dino"
        )
    if grid.ndim != 3 or grid.dtype.kind != "f" or 0 in grid.shape or not np.isfinite(grid).all():
        raise InputError(
            f"{path}: expected finite floats [h, w, d], found {grid.dtype} {list(grid.shape)}. Delete it and run preprocess.py."
        )
    return np.ascontiguousarray(grid, dtype=np.float16)


def _read_foreign(path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            tokens = archive["arr_0"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable DinoSplat feature file ({error}); expected array arr_0 [d, h, w].") from None
    if tokens.ndim == 4 and len(tokens) == 1:
        tokens = tokens[0]
    return np.moveaxis(tokens, 0, -1)
