"""The torch operators: `rasterize` for everything, `prepare` and `blend` for frozen geometry, `evaluate_sh`.

A view crosses as plain numbers: rotation, translation, fx, fy, cx, cy (16 floats), width, height. `state` is the prepared
memory of a backend and `counts` (on the CPU) its number of visible Gaussians and of (Gaussian, tile) pairs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _C
from .finite import raise_found
from .memory import Memory, address, target_for

LIBRARY = "diff_gaussian_rasterization"
# Differentiable inputs of `rasterize`, in the order of its gradients; the position is the bit in `wanted`.
INPUTS = ("means", "scales", "rotations", "covariances", "opacities", "features", "means2d")


def _camera(view: Sequence[float], width: int, height: int) -> "_C.Camera":
    camera = _C.Camera()
    camera.rotation, camera.translation = view[:9], view[9:12]
    camera.fx, camera.fy, camera.cx, camera.cy = view[12:]
    camera.width, camera.height = width, height
    return camera


def _gaussians(
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    covariances: Tensor | None,
    opacities: Tensor,
    scale_modifier: float,
    antialiasing: bool,
) -> "_C.Gaussians":
    gaussians = _C.Gaussians()
    gaussians.count = means.shape[0]
    gaussians.means, gaussians.opacities = address(means), address(opacities)
    gaussians.scales, gaussians.rotations, gaussians.covariances = address(scales), address(rotations), address(covariances)
    gaussians.scale_modifier, gaussians.antialiasing = scale_modifier, antialiasing
    return gaussians


def _features(values: Tensor, background: Tensor | None) -> "_C.Features":
    features = _C.Features()
    features.channels = values.shape[1]
    features.values, features.background = address(values), address(background)
    return features


def _images(image: Tensor | None, alpha: Tensor | None = None, depth: Tensor | None = None) -> "_C.Images":
    images = _C.Images()
    images.image, images.alpha, images.depth = address(image), address(alpha), address(depth)
    return images


def prepared_struct(state: Tensor, counts: Tensor, weights: Tensor | None = None) -> "_C.Prepared":
    """What `prepare_op` returned, and `KeptWeights` keeps, as the compiled code takes it."""
    prepared = _C.Prepared()
    prepared.data, prepared.bytes, prepared.weights = address(state), state.numel(), address(weights)
    prepared.num_visible, prepared.num_pairs = counts.tolist()
    return prepared


def _contiguous(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


@torch.library.custom_op(f"{LIBRARY}::prepare", mutates_args=())
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
    means, scales, rotations, covariances, opacities = _contiguous(means, scales, rotations, covariances, opacities)
    radii, state, counts = _prepare(
        view, width, height, _gaussians(means, scales, rotations, covariances, opacities, scale_modifier, antialiasing), means
    )
    alpha, depth = means.new_empty(height, width), means.new_empty(height, width)
    _blend(view, width, height, state, counts, means.new_empty(means.shape[0], 0), None, None, alpha, depth)
    return alpha, depth, radii, state, counts


def _prepare(
    view: Sequence[float], width: int, height: int, gaussians: "_C.Gaussians", means: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    radii = torch.empty(means.shape[0], dtype=torch.int32, device=means.device)
    kept = Memory(means.device)
    try:
        prepared = _C.prepare(
            target_for(means), _camera(view, width, height), gaussians, address(radii), kept, Memory(means.device)
        )
    finally:  # it waited for the device, whose reports name what it may have refused
        raise_found(means.device)
    (state,) = kept.tensors
    return radii, state, torch.tensor([prepared.num_visible, prepared.num_pairs])


def _blend(
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
    _C.blend(
        target_for(features),
        _camera(view, width, height),
        prepared_struct(state, counts, weights),
        _features(features, background),
        _images(image, alpha, depth),
        Memory(features.device),
    )


@prepare_op.register_fake
def _(view, width, height, means, scales, rotations, covariances, opacities, scale_modifier, antialiasing):
    size = torch.library.get_ctx().new_dynamic_size()
    return (
        means.new_empty(height, width),
        means.new_empty(height, width),
        means.new_empty(means.shape[0], dtype=torch.int32),
        means.new_empty(size, dtype=torch.uint8),
        torch.empty(2, dtype=torch.int64, device="cpu"),
    )


@torch.library.custom_op(f"{LIBRARY}::blend", mutates_args=())
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
    features, background = _contiguous(features, background)
    image = features.new_empty(features.shape[1], height, width)
    _blend(view, width, height, state, counts, features, background, image, None, None, weights)
    return image


@blend_op.register_fake
def _(view, width, height, state, counts, alpha, features, background, weights=None):
    return features.new_empty(features.shape[1], height, width)


@torch.library.custom_op(f"{LIBRARY}::blend_backward", mutates_args=())
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
        _camera(view, width, height),
        gaussians,
        prepared_struct(state, counts, weights),
        features,
        _images(grad_image),
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


def _background_gradient(grad_image: Tensor, alpha: Tensor) -> Tensor:
    # One axis at a time: each sum then runs on one thread, in one order, whatever the number of threads.
    return (grad_image * (1 - alpha)).sum(2).sum(1)


def _blend_gradient(ctx, grad_image):
    state, counts, alpha, weights = ctx.saved_tensors
    grad_features = grad_background = None
    if ctx.needs_input_grad[6]:
        grad_features = blend_backward_op(ctx.view, ctx.width, ctx.height, state, counts, weights, ctx.count, grad_image)
    if ctx.needs_input_grad[7]:
        grad_background = _background_gradient(grad_image, alpha)
    return None, None, None, None, None, None, grad_features, grad_background, None


blend_op.register_autograd(_blend_gradient, setup_context=_blend_setup)


@torch.library.custom_op(f"{LIBRARY}::rasterize", mutates_args=())
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
    means, scales, rotations, covariances, opacities = _contiguous(means, scales, rotations, covariances, opacities)
    features, background = _contiguous(features, background)
    radii, state, counts = _prepare(
        view, width, height, _gaussians(means, scales, rotations, covariances, opacities, scale_modifier, antialiasing), means
    )
    image, alpha = means.new_empty(features.shape[1], height, width), means.new_empty(height, width)
    depth = means.new_empty((height, width) if with_depth else (0,))
    _blend(view, width, height, state, counts, features, background, image, alpha, depth if with_depth else None)
    return image, alpha, depth, radii, state, counts


@rasterize_op.register_fake
def _(
    view,
    width,
    height,
    means,
    scales,
    rotations,
    covariances,
    opacities,
    features,
    means2d,
    background,
    scale_modifier,
    antialiasing,
    with_depth,
):
    size = torch.library.get_ctx().new_dynamic_size()
    return (
        means.new_empty(features.shape[1], height, width),
        means.new_empty(height, width),
        means.new_empty((height, width) if with_depth else (0,)),
        means.new_empty(means.shape[0], dtype=torch.int32),
        means.new_empty(size, dtype=torch.uint8),
        torch.empty(2, dtype=torch.int64, device="cpu"),
    )


@torch.library.custom_op(f"{LIBRARY}::rasterize_backward", mutates_args=())
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
    means, scales, rotations, covariances, opacities = _contiguous(means, scales, rotations, covariances, opacities)
    features, background, grad_image = _contiguous(features, background, grad_image)
    grad_alpha, grad_depth = _contiguous(grad_alpha, grad_depth)
    outputs = _empty_gradients(means, features, wanted)
    gradients = _C.Gradients()
    for name, tensor in outputs.items():
        setattr(gradients, name, address(tensor))
    _C.blend_backward(
        target_for(means),
        _camera(view, width, height),
        _gaussians(means, scales, rotations, covariances, opacities, scale_modifier, antialiasing),
        prepared_struct(state, counts),
        _features(features, background),
        _images(grad_image, grad_alpha, grad_depth),
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
def _(
    view,
    width,
    height,
    means,
    scales,
    rotations,
    covariances,
    opacities,
    features,
    background,
    scale_modifier,
    antialiasing,
    state,
    counts,
    grad_image,
    grad_alpha,
    grad_depth,
    wanted,
):
    return list(_empty_gradients(means, features, wanted).values())


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
        grads["background"] = _background_gradient(grad_image, alpha)
    ordered = ("means", "scales", "rotations", "covariances", "opacities", "features", "means2d", "background")
    return (None, None, None, *(grads.get(name) for name in ordered), None, None, None)


rasterize_op.register_autograd(_rasterize_gradient, setup_context=_rasterize_setup)
