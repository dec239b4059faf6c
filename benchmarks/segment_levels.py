"""Picture of an image's segments at the levels s, m and l, beside the photograph.

python benchmarks/segment_levels.py <scene> <image key> <picture.jpg>
"""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, as the scripts at the root

from features.photographs import read_photograph, scene_photographs
from features.registry import open_store
from features.segment_store import LEVELS
from workspace import SceneFolder, atomic


def paint(image: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Each segment in a distinct colour over the grey photograph, with its outline; pixels without one stay dark."""
    generator = np.random.default_rng(0)
    count = int(indices.max()) + 1
    hsv = np.stack([generator.permutation(count) * 180 / max(count, 1), np.full(count, 170), np.full(count, 255)], 1)
    palette = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0] if count else np.zeros((1, 3))
    grey = image.mean(axis=2, keepdims=True)
    painted = np.where(indices[..., None] >= 0, 0.6 * palette[indices] + 0.4 * grey, 0.25 * grey)
    edge = np.zeros(indices.shape, bool)
    edge[:, 1:] |= indices[:, 1:] != indices[:, :-1]
    edge[1:] |= indices[1:] != indices[:-1]
    painted[edge] = 20
    return painted.astype(np.uint8)


def main() -> None:
    """Write the picture."""
    scene, key, target = SceneFolder(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
    maps = open_store(scene).read(key).maps
    image, _ = read_photograph(key, *scene_photographs(scene)[key], resolution=maps.shape[2])
    panels = [image]
    for level in "sml":
        indices = maps[LEVELS.index(level)]
        panels.append(paint(image, np.unique(indices, return_inverse=True)[1].reshape(indices.shape) - (indices.min() < 0)))
    rows = [np.concatenate(panels[i : i + 2], axis=1) for i in (0, 2)]
    with atomic(target) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
