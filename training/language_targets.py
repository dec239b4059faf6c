"""What the language field should show in a view: the codes of its segments or patches, on the device, as images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from features.grids import read_grid
from features.record import SEGMENTED
from features.segment_files import LEVELS, read_segments
from scene.camera import Camera
from workspace import InputError, ModelFolder, SceneFolder, load_array

GRID_LEVELS = ("grid",)
INT16_SEGMENTS = 2**15 - 1


@dataclass(frozen=True)
class SegmentTarget:
    """Segment ids and a table of codes; the image is gathered anew each time."""

    ids: Int[Tensor, "l h w"]
    """Column of the table, int16 where that suffices."""
    table: Float[Tensor, "c m"]
    """Codes of the image's segments; the last column is zero and stands for none."""
    complete: bool
    """Whether every pixel of every level has a segment."""

    @property
    def width(self) -> int:
        """Pixels."""
        return self.ids.shape[2]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.ids.shape[1]

    def image(self) -> Float[Tensor, "lc h w"]:
        """The codes of all levels side by side; zero where there is no segment."""
        levels, height, width = self.ids.shape
        image = self.table.new_empty(levels, len(self.table), height * width)
        for level in range(levels):
            torch.index_select(self.table, 1, self.ids[level].flatten().int(), out=image[level])
        return image.view(-1, height, width)

    def labelled(self) -> Bool[Tensor, "l h w"] | None:
        """Pixels that have a code, per level; None when all have."""
        return None if self.complete else self.ids < self.table.shape[1] - 1


@dataclass(frozen=True)
class GridTarget:
    """Codes of a patch grid, interpolated to pixels anew each time."""

    codes: Float[Tensor, "c rows columns"]
    width: int
    height: int

    def image(self) -> Float[Tensor, "c h w"]:
        """The codes at the pixels, bilinear between the patches' centres."""
        size = (self.height, self.width)
        return F.interpolate(self.codes[None].float(), size, mode="bilinear", align_corners=False)[0]

    def labelled(self) -> None:
        """Every pixel has a code."""


Target = SegmentTarget | GridTarget


def residual(target: Target, image: Float[Tensor, "lc h w"]) -> Float[Tensor, "lc h w"]:
    """`image` minus the target, zero where there is no segment. Overwrites `image`."""
    image.sub_(target.image())
    labelled = target.labelled()
    if labelled is not None:
        image.view(len(labelled), -1, *image.shape[1:]).mul_(labelled[:, None])
    return image


def read_target(
    scene: SceneFolder,
    model: ModelFolder,
    camera: Camera,
    features: str,
    levels: Sequence[str],
    code_width: int,
    device: torch.device,
) -> Target:
    """Target of one view at the size of its features' maps, or for patch grids at the camera's size.

    Raises:
        InputError: features or codes are missing, do not belong together, or belong to a picture of another shape.
    """
    command = f"python train_autoencoder.py -s {scene.root} -m {model.root}"
    remedy = f"Write the codes again: {command} --overwrite"
    if not model.codes(camera.name).is_file():
        raise InputError(f"No codes for image '{camera.name}' in {model.autoencoder}. Run: {command}")
    codes = load_array(model.codes(camera.name))
    if features not in SEGMENTED:
        grid = read_grid(scene, camera.name)
        if codes.shape != (*grid.shape[:2], code_width):
            raise InputError(f"{model.codes(camera.name)} has shape {codes.shape}, its patch grid {grid.shape}. {remedy}")
        on_device = torch.from_numpy(codes).to(device).permute(2, 0, 1).contiguous()
        return GridTarget(on_device, camera.width, camera.height)
    embeddings, maps = read_segments(scene, camera.name)
    if codes.shape != (len(embeddings), code_width):
        raise InputError(
            f"{model.codes(camera.name)} has shape {codes.shape}; expected {(len(embeddings), code_width)}, one code for each "
            f"segment of {scene.segment_embeddings(camera.name)}. {remedy}"
        )
    _check_shape(scene, camera, maps.shape[2], maps.shape[1])
    ids = maps[[LEVELS.index(level) for level in levels]]
    none = len(codes)
    ids = np.where(ids < 0, none, ids).astype(np.int16 if none <= INT16_SEGMENTS else np.int32)
    table = np.concatenate([codes, np.zeros_like(codes[:1])] if none else [np.zeros((1, code_width), np.float32)])
    return SegmentTarget(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(np.ascontiguousarray(table.T, dtype=np.float32)).to(device),
        complete=not bool((ids == none).any()),
    )


def _check_shape(scene: SceneFolder, camera: Camera, width: int, height: int) -> None:
    """A map is a resized photograph: its height is what its width asks for, but for rounding."""
    if abs(height - camera.height * width / camera.width) > 1:
        raise InputError(
            f"The segment maps of image '{camera.name}' are {width}x{height} pixels, its camera {camera.width}x{camera.height}: "
            f"not the same picture. Make the features from the photographs in {scene.images}: "
            f"python preprocess.py -s {scene.root} --overwrite"
        )
