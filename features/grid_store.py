"""Dense patch features: one grid of tokens per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int32

from features.feature_store import FeatureStore
from features.segment_store import refuse_foreign
from features.targets import GridTarget
from scene.camera import Camera
from workspace import InputError, SceneFolder, load_array, load_member, save_array
from workspace.record_types import FeatureSettings

DINOSPLAT = FeatureSettings("dino", dino_model="vit_base_patch14_reg4_dinov2.lvd142m")  # what DinoSplat uses
DINOSPLAT_WIDTH = 768
LARGEST = np.finfo(np.float16).max  # largest float16, the stored type; larger tokens would overflow


@dataclass(frozen=True)
class PatchGrid:
    """Tokens of one image's patches; the grid covers the whole image, patch (0, 0) is the top left corner."""

    tokens: Float16[np.ndarray, "h w d"]

    def counts(self) -> dict[str, int]:
        """Number of tokens."""
        return {"tokens": self.tokens.shape[0] * self.tokens.shape[1]}


class GridStore(FeatureStore[PatchGrid]):
    """`<key>.npy` float16 [h, w, d] in `dino_features/`, at the image's own aspect unless `--square` was used.

    DinoSplat's files (`arr_0` [d, h, w] in `<key>.npz`) are read too. Deviates from their float32: half the size.
    """

    levels = ("grid",)
    trained_levels = ("grid",)
    dense = True
    code_dtype = np.float16

    @classmethod
    def folder_of(cls, scene: SceneFolder) -> Path:
        """`dino_features/`."""
        return scene.dino_features

    @classmethod
    def foreign_settings(cls, scene: SceneFolder) -> FeatureSettings | None:
        """DinoSplat's: DINOv2 ViT-B/14 with registers, 768 wide."""
        store = cls(scene, DINOSPLAT)
        keys = store.keys()
        present = [key for key in keys if scene.foreign_patch_grid(key).is_file()]
        if not present:
            return None
        refuse_foreign(store.folder, keys, present, store.embeddings(present[0]).shape[2], DINOSPLAT_WIDTH)
        return store.settings

    def has(self, key: str) -> bool:
        """Whether image `key` has a grid in our format."""
        return self.scene.patch_grid(key).is_file()

    def write(self, key: str, value: PatchGrid) -> None:
        """Write the grid of image `key`."""
        save_array(self.scene.patch_grid(key), value.tokens)

    def read(self, key: str) -> PatchGrid:
        """Grid of image `key`, ours or DinoSplat's; InputError when there is neither, or it is unreadable or of another shape."""
        path, foreign = self.scene.patch_grid(key), self.scene.foreign_patch_grid(key)
        if path.is_file():
            grid = load_array(path)
        elif foreign.is_file():
            path, grid = foreign, _read_foreign(foreign)
        else:
            raise InputError(f"No patch features for image '{key}' in {self.folder}. Run: {self.command()}")
        if grid.ndim != 3 or grid.dtype.kind != "f" or 0 in grid.shape or not (np.abs(grid) <= LARGEST).all():
            raise InputError(
                f"{path}: expected finite floats [h, w, d] up to {LARGEST:g}, found {grid.dtype} {list(grid.shape)}. "
                f"Delete it and run: {self.command()}"
            )
        return PatchGrid(np.ascontiguousarray(grid, dtype=np.float16))

    def embeddings(self, key: str) -> Float16[np.ndarray, "h w d"]:
        """The tokens."""
        return self.read(key).tokens

    def target(
        self, key: str, codes: Float[np.ndarray, "..."], levels: Sequence[str], camera: Camera, device: torch.device
    ) -> GridTarget:
        """Codes at the size of the camera, whatever the size of the grid."""
        self._check_codes(key, codes, self.read(key).tokens.shape[:2], f"patch of {self.folder}")
        return GridTarget(torch.from_numpy(codes).to(device).permute(2, 0, 1).contiguous(), camera.width, camera.height)

    def label_maps(self, key: str, levels: Sequence[str], camera: Camera) -> Int32[np.ndarray, "level h w"]:
        """The patch under each pixel of the camera."""
        rows, columns = self.read(key).tokens.shape[:2]
        row = (np.arange(camera.height) + 0.5) * rows // camera.height
        column = (np.arange(camera.width) + 0.5) * columns // camera.width
        return (row[:, None].astype(np.int32) * columns + column.astype(np.int32))[None]


def _read_foreign(path: Path) -> np.ndarray:
    tokens = load_member(path, "arr_0")
    if tokens.ndim == 4 and len(tokens) == 1:
        tokens = tokens[0]
    if tokens.ndim != 3:
        raise InputError(f"{path}: expected arr_0 [d, h, w], as DinoSplat writes it, found {list(tokens.shape)}.")
    return np.moveaxis(tokens, 0, -1)
