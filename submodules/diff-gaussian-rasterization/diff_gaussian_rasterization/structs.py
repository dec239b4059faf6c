"""Tensors as the compiled code takes them: addresses in plain structs.

A view crosses as numbers: rotation, translation, fx, fy, cx, cy (16 floats), width, height. `state` is the prepared memory of
a backend and `counts` (on the CPU) its number of visible Gaussians and of (Gaussian, tile) pairs.
"""

from collections.abc import Sequence

from torch import Tensor

from . import _C
from .memory import address


def camera_struct(view: Sequence[float], width: int, height: int) -> "_C.Camera":
    """A view, which crosses as plain numbers."""
    camera = _C.Camera()
    camera.rotation, camera.translation = view[:9], view[9:12]
    camera.fx, camera.fy, camera.cx, camera.cy = view[12:]
    camera.width, camera.height = width, height
    return camera


def gaussians_struct(
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    covariances: Tensor | None,
    opacities: Tensor,
    scale_modifier: float,
    antialiasing: bool,
) -> "_C.Gaussians":
    """Addresses of contiguous tensors; who calls keeps them alive."""
    gaussians = _C.Gaussians()
    gaussians.count = means.shape[0]
    gaussians.means, gaussians.opacities = address(means), address(opacities)
    gaussians.scales, gaussians.rotations, gaussians.covariances = address(scales), address(rotations), address(covariances)
    gaussians.scale_modifier, gaussians.antialiasing = scale_modifier, antialiasing
    return gaussians


def features_struct(values: Tensor, background: Tensor | None) -> "_C.Features":
    """Feature rows and what stands behind them."""
    features = _C.Features()
    features.channels = values.shape[1]
    features.values, features.background = address(values), address(background)
    return features


def images_struct(image: Tensor | None, alpha: Tensor | None = None, depth: Tensor | None = None) -> "_C.Images":
    """Where images, or their gradients, are."""
    images = _C.Images()
    images.image, images.alpha, images.depth = address(image), address(alpha), address(depth)
    return images


def prepared_struct(state: Tensor, counts: Tensor, weights: Tensor | None = None) -> "_C.Prepared":
    """What `prepare_op` returned, and `KeptWeights` keeps."""
    prepared = _C.Prepared()
    prepared.data, prepared.bytes, prepared.weights = address(state), state.numel(), address(weights)
    prepared.num_visible, prepared.num_pairs = counts.tolist()
    return prepared


def contiguous(*tensors: Tensor | None) -> list[Tensor | None]:
    """The tensors in rows without gaps, as the compiled code walks them."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]
