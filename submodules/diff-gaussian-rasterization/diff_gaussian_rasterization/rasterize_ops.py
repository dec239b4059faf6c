"""The torch operator of everything at once: `rasterize`, differentiable in all of its inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.library import custom_op

from . import _C
from .memory import Memory, address, target_for
from .prepared_ops import LIBRARY, background_gradient, blend_into, fake_projection, project_and_sort
from .structs import camera_struct, contiguous, features_struct, gaussians_struct, images_struct, prepared_struct

# Differentiable inputs of `rasterize`, in the order of its gradients; the position is the bit in `wanted`.
INPUTS = ("means", "scales", "rotations", "covariances", "opacities", "features", "means2d")


@custom_op(f"{LIBRARY}::rasterize", mutates_args=())
def rasterize_op(
    view: Sequence[float],
    width: int,
    height: int,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    covariances: Tensor | None,
    opacities: Tensor,
    features: Tensor,
    means2d: Tensor | None,
    background: Tensor | None,
    scale_modifier: float,
    antialiasing: bool,
    with_depth: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(image, alpha, depth, radii, state, counts); depth is empty without `with_depth`."""
    means, scales, rotations, covariances, opacities = contiguous(means, scales, rotations, covariances, opacities)
    features, background = contiguous(features, background)
    gaussians = gaussians_struct(means, scales, rotations, covariances, opacities, scale_modifier, antialiasing)
    radii, state, counts = project_and_sort(view, width, height, gaussians, means)
    image, alpha = means.new_empty(features.shape[1], height, width), means.new_empty(height, width)
    depth = means.new_empty((height, width) if with_depth else (0,))
    blend_into(view, width, height, state, counts, features, background, image, alpha, depth if with_depth else None)
    return image, alpha, depth, radii, state, counts


@rasterize_op.register_fake
def _(view, width, height, means, scales, rotations, covariances, opacities, features, *options):
    with_depth = options[-1]
    return (
        means.new_empty(features.shape[1], height, width),
        means.new_empty(height, width),
        means.new_empty((height, width) if with_depth else (0,)),
        *fake_projection(means),
    )


@custom_op(f"{LIBRARY}::rasterize_backward", mutates_args=())
def rasterize_backward_op(
    view: Sequence[float],
    width: int,
    height: int,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    covariances: Tensor | None,
    opacities: Tensor,
    features: Tensor,
    background: Tensor | None,
    scale_modifier: float,
    antialiasing: bool,
    state: Tensor,
    counts: Tensor,
    grad_image: Tensor,
    grad_alpha: Tensor | None,
    grad_depth: Tensor | None,
    wanted: int,
) -> list[Tensor]:
    """The gradients whose bit (position in INPUTS) is set in `wanted`, in that order; means2d as [n, 2]."""
    means, scales, rotations, covariances, opacities = contiguous(means, scales, rotations, covariances, opacities)
    features, background, grad_image = contiguous(features, background, grad_image)
    grad_alpha, grad_depth = contiguous(grad_alpha, grad_depth)
    outputs = _empty_gradients(means, features, wanted)
    gradients = _C.Gradients()
    for name, tensor in outputs.items():
        setattr(gradients, name, address(tensor))
    _C.blend_backward(
        target_for(means),
        camera_struct(view, width, height),
        gaussians_struct(means, scales, rotations, covariances, opacities, scale_modifier, antialiasing),
        prepared_struct(state, counts),
        features_struct(features, background),
        images_struct(grad_image, grad_alpha, grad_depth),
        gradients,
        Memory(means.device),
    )
    return list(outputs.values())


def _empty_gradients(means: Tensor, features: Tensor, wanted: int) -> dict[str, Tensor]:
    n = means.shape[0]
    shapes = ((n, 3), (n, 3), (n, 4), (n, 6), (n,), (n, features.shape[1]), (n, 2))
    return {
        name: means.new_empty(shape) for bit, (name, shape) in enumerate(zip(INPUTS, shapes, strict=True)) if wanted >> bit & 1
    }


@rasterize_backward_op.register_fake
def _(view, width, height, means, scales, rotations, covariances, opacities, features, *rest):
    return list(_empty_gradients(means, features, rest[-1]).values())


def _rasterize_setup(ctx, inputs, output):
    view, width, height, means, scales, rotations, covariances, opacities, features, means2d, background, *options = inputs
    _, alpha, _, radii, state, counts = output
    ctx.view, ctx.width, ctx.height = view, width, height
    ctx.scale_modifier, ctx.antialiasing, ctx.with_depth = options
    ctx.means2d_columns = None if means2d is None else means2d.shape[1]
    ctx.mark_non_differentiable(radii, state, counts)
    ctx.set_materialize_grads(False)  # an output that nobody used costs nothing
    ctx.save_for_backward(means, scales, rotations, covariances, opacities, features, background, alpha, state, counts)


def _rasterize_gradient(ctx, grad_image, grad_alpha, grad_depth, *_):
    means, scales, rotations, covariances, opacities, features, background, alpha, state, counts = ctx.saved_tensors
    none = [None] * 14
    if grad_image is None and grad_alpha is None and grad_depth is None:
        return tuple(none)
    if grad_image is None:
        grad_image = means.new_zeros(features.shape[1], ctx.height, ctx.width)
    needs = dict(zip(INPUTS, [*ctx.needs_input_grad[3:9], ctx.needs_input_grad[9]], strict=True))
    wanted = sum(1 << bit for bit, name in enumerate(INPUTS) if needs[name])
    grads = {}
    if wanted:
        grads = rasterize_backward_op(
            ctx.view,
            ctx.width,
            ctx.height,
            means,
            scales,
            rotations,
            covariances,
            opacities,
            features,
            background,
            ctx.scale_modifier,
            ctx.antialiasing,
            state,
            counts,
            grad_image,
            grad_alpha,
            grad_depth if ctx.with_depth else None,
            wanted,
        )
        grads = dict(zip([name for name in INPUTS if needs[name]], grads, strict=True))
    if "means2d" in grads and ctx.means2d_columns == 3:
        grads["means2d"] = torch.nn.functional.pad(grads["means2d"], (0, 1))
    if ctx.needs_input_grad[10]:
        grads["background"] = background_gradient(grad_image, alpha)
    ordered = ("means", "scales", "rotations", "covariances", "opacities", "features", "means2d", "background")
    return (None, None, None, *(grads.get(name) for name in ordered), None, None, None)


rasterize_op.register_autograd(_rasterize_gradient, setup_context=_rasterize_setup)
