"""View-dependent colours from spherical harmonics."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _C
from .checks import check_tensor
from .finite import check_finite
from .memory import target_for
from .operators import Operator, wanted

MAX_DEGREE = 3


def evaluate_sh(degree: int, means: Tensor, camera_center: Tensor, sh_coeffs: Tensor) -> Tensor:
    """Colours [n, 3] = max(0, sh + 0.5) of Gaussians at `means` [n, 3] seen from `camera_center` [3].

    Differentiable in `means` and `sh_coeffs` [n, k, 3], of which the first (degree + 1)^2 are used; the gradient is zero
    where the colour is clamped. Basis order and signs are those of the 3DGS files.

    Raises:
        ValueError, TypeError: the degree is not 0 to 3, or a tensor has the wrong shape, type, device, or values.
    """
    if not isinstance(degree, int) or not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"the degree of spherical harmonics must be 0, 1, 2 or 3, found {degree!r}.")
    check_tensor("means", means, ("n", 3))
    check_tensor("sh_coeffs", sh_coeffs, (means.shape[0], "k", 3), means)
    check_tensor("camera_center", camera_center, (3,))
    if sh_coeffs.shape[1] < (degree + 1) ** 2:
        raise ValueError(
            f"degree {degree} needs {(degree + 1) ** 2} coefficients per Gaussian, "
            f"found sh_coeffs of shape {list(sh_coeffs.shape)}."
        )
    means, sh_coeffs = means.contiguous(), sh_coeffs.contiguous()
    check_finite(means=means, sh_coeffs=sh_coeffs)
    center = camera_center.detach().tolist()
    if not all(map(math.isfinite, center)):
        raise ValueError(f"camera_center holds a value that is not finite: {center}.")
    return evaluate_sh_op.run(HarmonicsInputs(degree, means, center, sh_coeffs))


class HarmonicsInputs(NamedTuple):
    """Arguments of `evaluate_sh`; `camera_center` as three numbers."""

    degree: int
    means: Tensor
    camera_center: Sequence[float]
    sh_coeffs: Tensor


class HarmonicsBackwardInputs(NamedTuple):
    """`HarmonicsInputs`, the clamped colours, their gradient, and the names of the inputs that need a gradient."""

    degree: int
    means: Tensor
    camera_center: Sequence[float]
    sh_coeffs: Tensor
    colors: Tensor
    grad_colors: Tensor
    names: Sequence[str]


def _harmonics(inputs: HarmonicsInputs | HarmonicsBackwardInputs) -> dict[str, Any]:
    count, stride, _ = inputs.sh_coeffs.shape
    return {
        "count": count,
        "stride": stride,
        "degree": inputs.degree,
        "means": inputs.means,
        "coefficients": inputs.sh_coeffs,
        "camera_center": inputs.camera_center,
    }


def _evaluate(inputs: HarmonicsInputs) -> Tensor:
    colors = torch.empty_like(inputs.means)
    _C.evaluate_sh(target_for(colors), _harmonics(inputs), colors.data_ptr())
    return colors


def _save(ctx: Any, inputs: HarmonicsInputs, colors: Tensor) -> None:
    ctx.degree, ctx.camera_center = inputs.degree, inputs.camera_center
    ctx.save_for_backward(inputs.means, inputs.sh_coeffs, colors)


def _gradient(ctx: Any, saved: tuple, backward: Any, grad_colors: Tensor) -> dict[str, Tensor]:
    means, sh_coeffs, colors = saved
    needed = wanted(ctx, HarmonicsInputs)
    names = [name for name in ("means", "sh_coeffs") if getattr(needed, name)]
    given = HarmonicsBackwardInputs(ctx.degree, means, ctx.camera_center, sh_coeffs, colors, grad_colors, names)
    return dict(zip(names, backward(given), strict=True))


def _backward(inputs: HarmonicsBackwardInputs) -> list[Tensor]:
    """The gradients of `names`, in their order."""
    grads = {name: torch.empty_like(getattr(inputs, name)) for name in inputs.names}
    _C.evaluate_sh_backward(
        target_for(inputs.means),
        _harmonics(inputs),
        inputs.colors.data_ptr(),
        inputs.grad_colors.data_ptr(),
        {"means": grads.get("means"), "coefficients": grads.get("sh_coeffs")},
    )
    return list(grads.values())


evaluate_sh_op = Operator("evaluate_sh", HarmonicsInputs, "Tensor", _evaluate, lambda inputs: torch.empty_like(inputs.means))
evaluate_sh_backward_op = Operator(
    "evaluate_sh_backward",
    HarmonicsBackwardInputs,
    "Tensor[]",
    _backward,
    lambda inputs: [torch.empty_like(getattr(inputs, name)) for name in inputs.names],
)
evaluate_sh_op.differentiate(_save, _gradient, evaluate_sh_backward_op)
