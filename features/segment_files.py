"""Segment features on disk: the exchange format of the LangSplat family, one pair of files per image."""

import numpy as np
from jaxtyping import Float32, Int32

from workspace import InputError, SceneFolder, load_array, save_array

LEVELS = ("default", "s", "m", "l")  # SAM's masks pooled, then subpart, part and whole; the order in every file


def has_segments(scene: SceneFolder, key: str) -> bool:
    """Whether both files of image `key` are there. The map is written last."""
    return scene.segment_maps(key).is_file() and scene.segment_embeddings(key).is_file()


def write_segments(
    scene: SceneFolder, key: str, embeddings: Float32[np.ndarray, "m d"], maps: Int32[np.ndarray, "level h w"]
) -> None:
    """Write the segments of one image: unit rows of all levels in the order of LEVELS, and per level the row at each pixel.

    `maps` index the rows of `embeddings`, -1 where a level has no segment.
    """
    _check(scene, key, embeddings, maps)
    save_array(scene.segment_embeddings(key), embeddings)
    save_array(scene.segment_maps(key), maps)


def read_segments(scene: SceneFolder, key: str) -> tuple[Float32[np.ndarray, "m d"], Int32[np.ndarray, "level h w"]]:
    """Read the segments of image `key`: unit rows [m, d] and, per level of LEVELS, the row at each pixel (-1 = none).

    Files written by LangSplat and its descendants (float32 maps, float16 embeddings) are accepted.

    Raises:
        InputError: a file is missing, unreadable, or the two do not belong together.
    """
    if not has_segments(scene, key):
        raise InputError(
            f"No segment features for image '{key}' in {scene.language_features}. "
            f"Run: python preprocess.py -s {scene.root} --features sam_clip"
        )
    embeddings = load_array(scene.segment_embeddings(key))
    maps = load_array(scene.segment_maps(key))
    if embeddings.dtype.kind != "f" or maps.dtype.kind not in "fiu":
        raise InputError(f"{_name(scene, key)}: expected numbers, found {embeddings.dtype} and {maps.dtype}.")
    indices = maps.astype(np.int32)
    if maps.dtype.kind == "f" and not np.array_equal(indices, maps):
        raise InputError(f"{scene.segment_maps(key)} holds values that are not whole numbers; expected segment indices.")
    embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
    _check(scene, key, embeddings, indices)
    return embeddings, indices


def _name(scene: SceneFolder, key: str) -> str:
    return f"{scene.segment_embeddings(key)} and {scene.segment_maps(key).name}"


def _check(scene: SceneFolder, key: str, embeddings: np.ndarray, maps: np.ndarray) -> None:
    problem = None
    if embeddings.ndim != 2 or maps.ndim != 3 or len(maps) != len(LEVELS):
        problem = f"expected shapes [m, d] and [{len(LEVELS)}, h, w], found {list(embeddings.shape)} and {list(maps.shape)}"
    elif maps.size and (maps.min() < -1 or maps.max() >= len(embeddings)):
        problem = f"expected indices from -1 to {len(embeddings) - 1}, found {maps.min()} to {maps.max()}"
    elif not np.isfinite(embeddings).all():
        problem = "the embeddings hold values that are not finite"
    if problem:
        raise InputError(f"{_name(scene, key)}: {problem}. Delete both and run: python preprocess.py -s {scene.root}")
