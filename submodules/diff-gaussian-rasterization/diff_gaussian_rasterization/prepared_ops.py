"""The operators for frozen geometry: `prepare` and `blend`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import get_ctx

from . import _C
from .finite import raise_found
from .memory import Memory, scratch_for, target_for
from .operators import Operator, wanted

SHAPED_BY = ("means", "scales", "rotations", "covariances", "opacities", "scale_modifier", "antialiasing")


class PrepareInputs(NamedTuple):
    """Gaussians and a camera. `view` is its rotation, translation, fx, fy, cx, cy: 16 numbers."""

    view: Sequence[float]
    width: int
    height: int
    means: Tensor
    scales: Tensor | None
    rotations: Tensor | None
    covariances: Tensor | None
    opacities: Tensor
    scale_modifier: float
    antialiasing: bool


class BlendInputs(NamedTuple):
    """Features and a prepared view. `alpha`: of an earlier call, if any; `weights`, `half`: from `KeptWeights.for_pass`."""

    view: Sequence[float]
    width: int
    height: int
    state: Tensor
    counts: Tensor
    features: Tensor
    background: Tensor | None
    alpha: Tensor | None
    weights: Tensor | None
    half: bool


class BlendBackwardInputs(NamedTuple):
    """A prepared view, the gradient of its image, and the number of Gaussians."""

    view: Sequence[float]
    width: int
    height: int
    state: Tensor
    counts: Tensor
    weights: Tensor | None
    half: bool
    count: int
    grad_image: Tensor


def camera_of(inputs: Any) -> tuple[Sequence[float], int, int]:
    """The camera in the form that the compiled code expects: 16 numbers, width and height in pixels."""
    return inputs.view, inputs.width, inputs.height


def gaussians_of(inputs: Any) -> dict[str, Any]:
    """The fields of the compiled `Gaussians`; the caller keeps the tensors alive."""
    fields = {name: getattr(inputs, name) for name in SHAPED_BY}
    fields["count"] = inputs.means.shape[0]
    return fields


def prepared_fields(state: Tensor, counts: Tensor, weights: Tensor | None = None, half: bool = False) -> dict[str, Any]:
    """The fields of the compiled `Prepared`: from the outputs of `prepare` and what `KeptWeights.for_pass` returned."""
    num_visible, num_pairs = counts.tolist()
    sizes = {"bytes": state.numel(), "num_visible": num_visible, "num_pairs": num_pairs}
    return {"data": state, "weights": weights, "half_weights": half, **sizes}


def project_and_sort(inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(radii [n], state, counts): counts holds the numbers of visible Gaussians and of pairs, on the CPU."""
    means = inputs.means
    radii = torch.empty(means.shape[0], dtype=torch.int32, device=means.device)
    counts = torch.empty(2, dtype=torch.int64, device="cpu")
    kept = Memory(means.device)
    try:
        _C.prepare(
            target_for(means),
            camera_of(inputs),
            gaussians_of(inputs),
            radii.data_ptr(),
            counts.data_ptr(),
            kept,
            scratch_for(means),
        )
    finally:  # projection synchronised: raise any NaN or infinity that the GPU reported
        raise_found(means.device)
    (state,) = kept.tensors
    return radii, state, counts


def blend_into(
    camera: tuple[Sequence[float], int, int],
    state: Tensor,
    counts: Tensor,
    features: dict[str, Any],
    images: dict[str, Any],
    weights: Tensor | None = None,
    half: bool = False,
) -> None:
    """Blend `features` into the images that are not None."""
    beside = next(image for image in images.values() if image is not None)
    prepared = prepared_fields(state, counts, weights, half)
    _C.blend(target_for(beside), camera, prepared, features, images, scratch_for(beside))


def features_of(inputs: Any) -> dict[str, Any]:
    """The fields of the compiled `Features`."""
    return {"channels": inputs.features.shape[1], "values": inputs.features, "background": inputs.background}


def fake_projection(means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors with the shapes and types that `project_and_sort` returns."""
    return (
        means.new_empty(means.shape[0], dtype=torch.int32),
        means.new_empty(get_ctx().new_dynamic_size(), dtype=torch.uint8),
        torch.empty(2, dtype=torch.int64, device="cpu"),
    )


def _blend(inputs: BlendInputs) -> tuple[Tensor, Tensor, Tensor]:
    """(image, alpha, depth); alpha and depth are empty when `inputs.alpha` is given: an earlier call returned them."""
    image, alpha, depth = _blend_outputs(inputs)
    images = {"image": image}
    if inputs.alpha is None:
        images |= {"alpha": alpha, "depth": depth}
    blend_into(camera_of(inputs), inputs.state, inputs.counts, features_of(inputs), images, inputs.weights, inputs.half)
    return image, alpha, depth


def _blend_outputs(inputs: BlendInputs) -> tuple[Tensor, Tensor, Tensor]:
    features, size = inputs.features, (inputs.height, inputs.width)
    rest = size if inputs.alpha is None else (0,)
    # Sizes as arguments: as one tuple they take torch longer to read.
    return features.new_empty(features.shape[1], *size), features.new_empty(*rest), features.new_empty(*rest)


def _blend_save(ctx: Any, inputs: BlendInputs, outputs: tuple[Tensor, Tensor, Tensor]) -> None:
    _, alpha, depth = outputs
    ctx.camera, ctx.half, ctx.count = camera_of(inputs), inputs.half, inputs.features.shape[0]
    ctx.mark_non_differentiable(alpha, depth)
    ctx.set_materialize_grads(False)  # unused outputs get None instead of a tensor of zeros
    known = alpha if inputs.alpha is None else inputs.alpha
    ctx.save_for_backward(inputs.state, inputs.counts, known, inputs.weights)


def background_gradient(grad_image: Tensor, alpha: Tensor) -> Tensor:
    """Gradient [D] with respect to the background, which is blended with weight 1 - alpha."""
    # One axis at a time, so that each sum runs on one thread in a fixed order, for any number of threads.
    return (grad_image * (1 - alpha)).sum(2).sum(1)


def _blend_gradient(ctx: Any, saved: tuple, backward: Any, grad_image: Tensor | None, *_: Tensor | None) -> dict[str, Tensor]:
    if grad_image is None:
        return {}
    state, counts, alpha, weights = saved
    needed, grads = wanted(ctx, BlendInputs), {}
    if needed.features:
        grads["features"] = backward(BlendBackwardInputs(*ctx.camera, state, counts, weights, ctx.half, ctx.count, grad_image))
    if needed.background:
        grads["background"] = background_gradient(grad_image, alpha)
    return grads


def _blend_backward(inputs: BlendBackwardInputs) -> Tensor:
    """Gradient of `blend` with respect to the features of `count` Gaussians."""
    grad_image = inputs.grad_image
    grad_features = grad_image.new_empty(inputs.count, grad_image.shape[0])
    _C.blend_backward(
        target_for(grad_image),
        camera_of(inputs),
        {"count": inputs.count},
        prepared_fields(inputs.state, inputs.counts, inputs.weights, inputs.half),
        {"channels": grad_image.shape[0]},
        {"image": grad_image},
        {"features": grad_features},
        scratch_for(grad_image),
    )
    return grad_features


prepare_op = Operator(
    "prepare",
    PrepareInputs,
    "(Tensor, Tensor, Tensor)",
    project_and_sort,
    lambda inputs: fake_projection(inputs.means),
)
blend_op = Operator("blend", BlendInputs, "(Tensor, Tensor, Tensor)", _blend, _blend_outputs)
blend_backward_op = Operator(
    "blend_backward",
    BlendBackwardInputs,
    "Tensor",
    _blend_backward,
    lambda inputs: inputs.grad_image.new_empty(inputs.count, inputs.grad_image.shape[0]),
)
blend_op.differentiate(_blend_save, _blend_gradient, blend_backward_op)
