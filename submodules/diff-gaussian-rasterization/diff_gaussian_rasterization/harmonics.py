"""Spherical harmonics to view-dependent colours."""

import torch
from torch import Tensor
from torch.library import custom_op

from . import _C
from .checks import check_tensor
from .finite import check_finite
from .memory import address, target_for
from .prepared_ops import LIBRARY

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
    return evaluate_sh_op(degree, means, camera_center.detach().tolist(), sh_coeffs)


def _harmonics(degree: int, means: Tensor, camera_center: list[float], sh_coeffs: Tensor) -> "_C.Harmonics":
    harmonics = _C.Harmonics()
    harmonics.count, harmonics.stride, harmonics.degree = means.shape[0], sh_coeffs.shape[1], degree
    harmonics.means, harmonics.coefficients = address(means), address(sh_coeffs)
    harmonics.camera_center = camera_center
    return harmonics


@custom_op(f"{LIBRARY}::evaluate_sh", mutates_args=())
def evaluate_sh_op(degree: int, means: Tensor, camera_center: list[float], sh_coeffs: Tensor) -> Tensor:
    """Clamped colours."""
    means, sh_coeffs = means.contiguous(), sh_coeffs.contiguous()
    colors = torch.empty_like(means)
    _C.evaluate_sh(target_for(means), _harmonics(degree, means, camera_center, sh_coeffs), address(colors))
    return colors


@evaluate_sh_op.register_fake
def _(degree, means, camera_center, sh_coeffs):
    return torch.empty_like(means)


@custom_op(f"{LIBRARY}::evaluate_sh_backward", mutates_args=())
def evaluate_sh_backward_op(
    degree: int,
    means: Tensor,
    camera_center: list[float],
    sh_coeffs: Tensor,
    colors: Tensor,
    grad_colors: Tensor,
    wants_means: bool,
    wants_coeffs: bool,
) -> list[Tensor]:
    """Gradients by the means and by the coefficients, those that are wanted."""
    means, sh_coeffs, grad_colors = means.contiguous(), sh_coeffs.contiguous(), grad_colors.contiguous()
    grad_means = torch.empty_like(means) if wants_means else None
    grad_coeffs = torch.empty_like(sh_coeffs) if wants_coeffs else None
    _C.evaluate_sh_backward(
        target_for(means),
        _harmonics(degree, means, camera_center, sh_coeffs),
        address(colors),
        address(grad_colors),
        address(grad_means),
        address(grad_coeffs),
    )
    return [grad for grad in (grad_means, grad_coeffs) if grad is not None]


@evaluate_sh_backward_op.register_fake
def _(degree, means, camera_center, sh_coeffs, colors, grad_colors, wants_means, wants_coeffs):
    return [torch.empty_like(means)] * wants_means + [torch.empty_like(sh_coeffs)] * wants_coeffs


def _setup(ctx, inputs, output):
    ctx.degree, means, ctx.camera_center, sh_coeffs = inputs
    ctx.save_for_backward(means, sh_coeffs, output)


def _gradient(ctx, grad_colors):
    means, sh_coeffs, colors = ctx.saved_tensors
    wants_means, wants_coeffs = ctx.needs_input_grad[1], ctx.needs_input_grad[3]
    grads = evaluate_sh_backward_op(
        ctx.degree, means, ctx.camera_center, sh_coeffs, colors, grad_colors, wants_means, wants_coeffs
    )
    return None, grads[0] if wants_means else None, None, grads[-1] if wants_coeffs else None


evaluate_sh_op.register_autograd(_gradient, setup_context=_setup)
