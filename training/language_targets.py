"""Target images of the language field: the code of the feature at each pixel of a view."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from features.feature_store import FeatureStore
from features.targets import Target
from scene.camera import Camera
from workspace import InputError, ModelFolder, load_array


def residual(target: Target, image: Float[Tensor, "lc h w"]) -> Float[Tensor, "lc h w"]:
    """`image` minus the target, zero where there is no segment. Overwrites `image`."""
    image.sub_(target.image())
    labelled = target.labelled()
    if labelled is not None:
        image.view(len(labelled), -1, *image.shape[1:]).mul_(labelled[:, None])
    return image


def read_target(
    store: FeatureStore, model: ModelFolder, camera: Camera, levels: Sequence[str], code_width: int, device: torch.device
) -> Target:
    """Target of one view: for segments at the size of their maps, for patch grids at the camera's size.

    Raises:
        InputError: features or codes are missing, do not match, or belong to an image of another shape.
    """
    command = partial(model.compressor_command_on, store.scene.root)  # reads the record: only for an error
    path = model.codes(camera.name)
    if not path.is_file():
        raise InputError(f"No codes for image '{camera.name}' in {model.autoencoder}. Run: {command()}")
    codes = load_array(path)
    if codes.dtype.kind != "f" or codes.shape[-1:] != (code_width,):
        raise InputError(
            f"{path} holds {codes.dtype} {list(codes.shape)}; expected floats with rows of {code_width}. "
            f"Write the codes again: {command()} --overwrite"
        )
    if not np.isfinite(codes).all():
        raise InputError(f"{path} holds codes that are not finite. Write the codes again: {command()} --overwrite")
    return store.target(camera.name, codes, levels, camera, device)
