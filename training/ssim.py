"""SSIM (Wang et al. 2004) with a hand-written backward pass: 11x11 Gaussian window, sigma 1.5, values in [0, 1]."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

_WINDOW = 11
_SIGMA = 1.5
# Stabilisers of Wang et al. 2004 for values in [0, 1]: (0.01)^2 and (0.03)^2.
C1 = 1e-4
C2 = 9e-4


def ssim(image: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"]) -> Float[Tensor, ""]:
    """Mean structural similarity (Wang et al. 2004) of values in [0, 1]: 11x11 Gaussian window, sigma 1.5, zero padding.

    Differentiable in `image` only.
    """
    return _Ssim.apply(image, target)


class _Ssim(torch.autograd.Function):
    """Hand-written backward pass: it blurs nine planes, a third of the cost of autograd through the moments."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, y: Tensor) -> Tensor:
        mean_x, mean_y, moment_xx, moment_yy, moment_xy = _blur(torch.stack((x, y, x * x, y * y, x * y)))
        luminance = 2 * mean_x * mean_y + C1
        luminance_norm = mean_x.square() + mean_y.square() + C1
        structure = 2 * (moment_xy - mean_x * mean_y) + C2
        structure_norm = moment_xx + moment_yy - luminance_norm + (C1 + C2)
        norm = 1 / (luminance_norm * structure_norm)
        similarity = luminance * structure * norm
        if ctx.needs_input_grad[0]:
            grad_xx = -similarity / structure_norm
            grad_xy = 2 * luminance * norm
            grad_mean = 2 * (mean_y * structure * norm - mean_x * similarity / luminance_norm)
            grad_mean -= 2 * mean_x * grad_xx + mean_y * grad_xy
            ctx.save_for_backward(x, y, torch.stack((grad_mean, grad_xx, grad_xy)))
        return similarity.mean()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        x, y, grad_maps = ctx.saved_tensors
        grad_mean, grad_xx, grad_xy = _blur(grad_maps)  # symmetric window, zero padding: the blur is its own transpose
        return (grad / x.numel()) * (grad_mean + 2 * x * grad_xx + y * grad_xy), None


def _blur(maps: Float[Tensor, "k 3 h w"]) -> Float[Tensor, "k 3 h w"]:
    """Every plane convolved with the SSIM window, zero outside the image."""
    window = torch.as_tensor(ssim_window(), dtype=maps.dtype, device=maps.device)
    planes = maps.flatten(0, 1)
    weight = window.expand(len(planes), 1, 1, _WINDOW)
    pad = _WINDOW // 2
    rows = F.conv2d(planes[None], weight, padding=(0, pad), groups=len(planes))
    return F.conv2d(rows, weight.transpose(2, 3), padding=(pad, 0), groups=len(planes))[0].view_as(maps)


@cache
def ssim_window() -> Float32[np.ndarray, " 11"]:
    """Weights of the window along one axis, sum 1."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    return (weights / weights.sum()).astype(np.float32)
