"""The torch operators of frozen geometry: `prepare` and `blend`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.library import custom_op, get_ctx

from . import _C
from .finite import raise_found
from .memory import Memory, address, target_for
from .structs import camera_struct, contiguous, features_struct, gaussians_struct, images_struct, prepared_struct

LIBRARY = "diff_gaussian_rasterization"  # namespace of the operators


@custom_op(f"{LIBRARY}::prepare", mutates_args=())
def prepare_op(
    view: Sequence[float],
    width: int,
    height: int,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    covariances: Tensor | None,
    opacities: Tensor,
    scale_modifier: float,
    antialiasing: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Project, sort and bin: (alpha, depth, radii, state, counts). Not differentiable."""
    means, scales, rotations, covariances, opacities = contiguous(means, scales, rotations, covariances, opacities)
    gaussians = gaussians_struct(means, scales, rotations, covariances, opacities, scale_modifier, antialiasing)
    radii, state, counts = project_and_sort(view, width, height, gaussians, means)
    alpha, depth = means.new_empty(height, width), means.new_empty(height, width)
    blend_into(view, width, height, state, counts, means.new_empty(means.shape[0], 0), None, None, alpha, depth)
    return alpha, depth, radii, state, counts


def project_and_sort(
    view: Sequence[float], width: int, height: int, gaussians: "_C.Gaussians", means: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(radii, state, counts) of Gaussians whose memory stands beside `means`."""
    radii = torch.empty(means.shape[0], dtype=torch.int32, device=means.device)
    kept = Memory(means.device)
    try:
        prepared = _C.prepare(
            target_for(means), camera_struct(view, width, height), gaussians, address(radii), kept, Memory(means.device)
        )
    finally:  # projection waited for the device: raise what its searches have reported
        raise_found(means.device)
    (state,) = kept.tensors
    return radii, state, torch.tensor([prepared.num_visible, prepared.num_pairs], device="cpu")


def blend_into(
    view: Sequence[float],
    width: int,
    height: int,
    state: Tensor,
    counts: Tensor,
    features: Tensor,
    background: Tensor | None,
    image: Tensor | None,
    alpha: Tensor | None,
    depth: Tensor | None,
    weights: Tensor | None = None,
) -> None:
    """Fill those of `image`, `alpha` and `depth` that are given."""
    _C.blend(
        target_for(features),
        camera_struct(view, width, height),
        prepared_struct(state, counts, weights),
        features_struct(features, background),
        images_struct(image, alpha, depth),
        Memory(features.device),
    )


def fake_projection(means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes of what `project_and_sort` returns."""
    return (
        means.new_empty(means.shape[0], dtype=torch.int32),
        means.new_empty(get_ctx().new_dynamic_size(), dtype=torch.uint8),
        torch.empty(2, dtype=torch.int64, device="cpu"),
    )


@prepare_op.register_fake
def _(view, width, height, means, *_):
    return means.new_empty(height, width), means.new_empty(height, width), *fake_projection(means)


@custom_op(f"{LIBRARY}::blend", mutates_args=())
def blend_op(
    view: Sequence[float],
    width: int,
    height: int,
    state: Tensor,
    counts: Tensor,
    alpha: Tensor,
    features: Tensor,
    background: Tensor | None,
    weights: Tensor | None = None,
) -> Tensor:
    """Blend features over a prepared view. `alpha` is what `prepare` returned; the gradient by the background needs it.

    `weights` are those that `KeptWeights` keeps of the view, if any.
    """
    features, background = contiguous(features, background)
    image = features.new_empty(features.shape[1], height, width)
    blend_into(view, width, height, state, counts, features, background, image, None, None, weights)
    return image


@blend_op.register_fake
def _(view, width, height, state, counts, alpha, features, background, weights=None):
    return features.new_empty(features.shape[1], height, width)


@custom_op(f"{LIBRARY}::blend_backward", mutates_args=())
def blend_backward_op(
    view: Sequence[float],
    width: int,
    height: int,
    state: Tensor,
    counts: Tensor,
    weights: Tensor | None,
    count: int,
    grad_image: Tensor,
) -> Tensor:
    """Gradient of `blend` with respect to the features of `count` Gaussians."""
    grad_image = grad_image.contiguous()
    grad_features = grad_image.new_empty(count, grad_image.shape[0])
    gaussians, features, gradients = _C.Gaussians(), _C.Features(), _C.Gradients()
    gaussians.count, features.channels = count, grad_image.shape[0]
    gradients.features = address(grad_features)
    _C.blend_backward(
        target_for(grad_image),
        camera_struct(view, width, height),
        gaussians,
        prepared_struct(state, counts, weights),
        features,
        images_struct(grad_image),
        gradients,
        Memory(grad_image.device),
    )
    return grad_features


@blend_backward_op.register_fake
def _(view, width, height, state, counts, weights, count, grad_image):
    return grad_image.new_empty(count, grad_image.shape[0])


def _blend_setup(ctx, inputs, output):
    view, width, height, state, counts, alpha, features, background, weights = inputs
    ctx.view, ctx.width, ctx.height, ctx.count = view, width, height, features.shape[0]
    ctx.save_for_backward(state, counts, alpha, weights)


def background_gradient(grad_image: Tensor, alpha: Tensor) -> Tensor:
    """Gradient of the background: the light that passes all Gaussians."""
    # One axis at a time: each sum then runs on one thread, in one order, whatever the number of threads.
    return (grad_image * (1 - alpha)).sum(2).sum(1)


def _blend_gradient(ctx, grad_image):
    state, counts, alpha, weights = ctx.saved_tensors
    grad_features = grad_background = None
    if ctx.needs_input_grad[6]:
        grad_features = blend_backward_op(ctx.view, ctx.width, ctx.height, state, counts, weights, ctx.count, grad_image)
    if ctx.needs_input_grad[7]:
        grad_background = background_gradient(grad_image, alpha)
    return None, None, None, None, None, None, grad_features, grad_background, None


blend_op.register_autograd(_blend_gradient, setup_context=_blend_setup)
