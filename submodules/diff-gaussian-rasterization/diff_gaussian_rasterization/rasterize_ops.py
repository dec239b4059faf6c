"""The operator `rasterize`: projection and blending in one, differentiable in all of its tensors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _C
from .memory import scratch_for, target_for
from .operators import Operator, wanted
from .prepared_ops import (
    background_gradient,
    blend_into,
    camera_of,
    fake_projection,
    features_of,
    gaussians_of,
    prepared_fields,
    project_and_sort,
)

# Inputs whose gradients the compiled code computes, with the shape of a row; the rows of features have the image's channels.
ROWS = {"means": (3,), "scales": (3,), "rotations": (4,), "covariances": (6,), "opacities": (), "features": (), "means2d": (2,)}


class RasterizeInputs(NamedTuple):
    """Gaussians, their features and a camera; see `rasterize`."""

    view: Sequence[float]
    width: int
    height: int
    means: Tensor
    scales: Tensor | None
    rotations: Tensor | None
    covariances: Tensor | None
    opacities: Tensor
    features: Tensor
    means2d: Tensor | None
    background: Tensor | None
    scale_modifier: float
    antialiasing: bool
    with_depth: bool


class RasterizeBackwardInputs(NamedTuple):
    """The forward inputs that are needed, the prepared view, image gradients, and the names of inputs that need a gradient."""

    view: Sequence[float]
    width: int
    height: int
    means: Tensor
    scales: Tensor | None
    rotations: Tensor | None
    covariances: Tensor | None
    opacities: Tensor
    features: Tensor
    background: Tensor | None
    scale_modifier: float
    antialiasing: bool
    state: Tensor
    counts: Tensor
    grad_image: Tensor
    grad_alpha: Tensor | None
    grad_depth: Tensor | None
    names: Sequence[str]


def _rasterize(inputs: RasterizeInputs) -> tuple[Tensor, ...]:
    """(image, alpha, depth, radii, state, counts); depth is empty without `with_depth`."""
    projection = radii, state, counts = project_and_sort(inputs)
    image, alpha, depth = _images(inputs)
    images = {"image": image, "alpha": alpha, "depth": depth if inputs.with_depth else None}
    blend_into(camera_of(inputs), state, counts, features_of(inputs), images)
    return image, alpha, depth, *projection


def _images(inputs: RasterizeInputs) -> tuple[Tensor, Tensor, Tensor]:
    means, size = inputs.means, (inputs.height, inputs.width)
    depth = means.new_empty(*(size if inputs.with_depth else (0,)))
    return means.new_empty(inputs.features.shape[1], *size), means.new_empty(*size), depth


def _save(ctx: Any, inputs: RasterizeInputs, outputs: tuple[Tensor, ...]) -> None:
    _, alpha, _, radii, state, counts = outputs
    ctx.camera, ctx.options = camera_of(inputs), (inputs.scale_modifier, inputs.antialiasing)
    ctx.with_depth = inputs.with_depth
    ctx.means2d_columns = None if inputs.means2d is None else inputs.means2d.shape[1]
    ctx.mark_non_differentiable(radii, state, counts)
    ctx.set_materialize_grads(False)  # unused outputs get None instead of a tensor of zeros
    geometry = inputs.means, inputs.scales, inputs.rotations, inputs.covariances, inputs.opacities
    ctx.save_for_backward(alpha, state, counts, *geometry, inputs.features, inputs.background, inputs.means2d)


def _gradient(
    ctx: Any,
    saved: tuple,
    backward: Any,
    grad_image: Tensor | None,
    grad_alpha: Tensor | None,
    grad_depth: Tensor | None,
    *_: Tensor | None,
) -> dict[str, Tensor]:
    if grad_image is None and grad_alpha is None and grad_depth is None:
        return {}
    alpha, state, counts, *gaussians, features, background, _ = saved  # the last for second derivatives only
    if grad_image is None:
        grad_image = alpha.new_zeros(features.shape[1], *alpha.shape)
    needed = wanted(ctx, RasterizeInputs)
    names = [name for name in ROWS if getattr(needed, name)]
    grads = {}
    if names:
        above = grad_image, grad_alpha, grad_depth if ctx.with_depth else None
        given = (*ctx.camera, *gaussians, features, background, *ctx.options, state, counts, *above, names)
        grads = dict(zip(names, backward(RasterizeBackwardInputs(*given)), strict=True))
    if "means2d" in grads and ctx.means2d_columns == 3:
        grads["means2d"] = torch.nn.functional.pad(grads["means2d"], (0, 1))
    if needed.background:
        grads["background"] = background_gradient(grad_image, alpha)
    return grads


def _backward(inputs: RasterizeBackwardInputs) -> list[Tensor]:
    """The gradients of `names`, in their order; that of means2d as [n, 2]."""
    outputs = _empty_gradients(inputs)
    _C.blend_backward(
        target_for(inputs.means),
        camera_of(inputs),
        gaussians_of(inputs),
        prepared_fields(inputs.state, inputs.counts),
        features_of(inputs),
        {"image": inputs.grad_image, "alpha": inputs.grad_alpha, "depth": inputs.grad_depth},
        dict(zip(inputs.names, outputs, strict=True)),
        scratch_for(inputs.means),
    )
    return outputs


def _empty_gradients(inputs: RasterizeBackwardInputs) -> list[Tensor]:
    n, rows = inputs.means.shape[0], ROWS | {"features": inputs.features.shape[1:]}
    return [inputs.means.new_empty(n, *rows[name]) for name in inputs.names]


rasterize_op = Operator(
    "rasterize",
    RasterizeInputs,
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _rasterize,
    lambda inputs: (*_images(inputs), *fake_projection(inputs.means)),
)
rasterize_backward_op = Operator("rasterize_backward", RasterizeBackwardInputs, "Tensor[]", _backward, _empty_gradients)
rasterize_op.differentiate(_save, _gradient, rasterize_backward_op)
