"""The photometric loss and its gradient on the CPU, one colour plane at a time in memory that stays in the cache.

It takes a third of the time of the same formulas in PyTorch (10.5 against 30.6 ms on one core for a 400x711 picture):
OpenCV's separable filter is four times as fast as a grouped convolution, and no operation allocates memory.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from training.ssim import C1, C2, ssim_window

_scratch = threading.local()


class PhotometricPlanes(torch.autograd.Function):
    """(1 - weight) L1 + weight (1 - SSIM) of float32 pictures on the CPU; the forward pass also computes the gradient."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, image: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"], weight: float
    ) -> Float[Tensor, ""]:
        """Loss as a scalar tensor; saves its gradient for `backward`."""
        grad = torch.empty_like(image, memory_format=torch.contiguous_format)
        planes = zip(image.detach().numpy(), target.numpy(), grad.numpy(), strict=True)
        sums = list(_pool().map(lambda plane: _plane(*plane, weight, image.numel()), planes))
        ctx.save_for_backward(grad)
        l1, similarity = (sum(values) / image.numel() for values in zip(*sums, strict=True))
        return image.new_tensor((1 - weight) * l1 + weight * (1 - similarity))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad_loss: Float[Tensor, ""]) -> tuple[Tensor, None, None]:
        """Gradient with respect to `image`, [3, h, w]."""
        (grad,) = ctx.saved_tensors
        return grad_loss * grad, None, None


@np.errstate(all="ignore")  # a loss that is not finite is reported by the trainer
def _plane(
    x: Float32[np.ndarray, "h w"],
    y: Float32[np.ndarray, "h w"],
    grad: Float32[np.ndarray, "h w"],
    weight: float,
    count: int,
) -> tuple[float, float]:
    """Sums of |x - y| and of SSIM over one plane; `grad` receives the derivative of the loss, a mean over `count` values.

    Every line is one pass over the plane. Buffers are reused once their values are no longer needed; the prefix `d_` marks
    a derivative of the similarity.
    """
    mean_x, mean_y, moment_xx, moment_yy, moment_xy, a, b, c = _buffers(x.shape)
    _blur(x, mean_x)
    _blur(y, mean_y)
    _blur(np.multiply(x, x, out=a), moment_xx)
    _blur(np.multiply(y, y, out=a), moment_yy)
    _blur(np.multiply(x, y, out=a), moment_xy)

    luminance = np.multiply(mean_x, mean_y, out=a)
    structure = np.subtract(moment_xy, luminance, out=moment_xy)
    structure *= 2
    structure += C2
    luminance *= 2
    luminance += C1
    luminance_norm = np.multiply(mean_x, mean_x, out=b)
    luminance_norm += np.multiply(mean_y, mean_y, out=c)
    structure_norm = np.add(moment_xx, moment_yy, out=moment_xx)
    structure_norm -= luminance_norm
    structure_norm += C2
    luminance_norm += C1
    norm = np.multiply(luminance_norm, structure_norm, out=c)
    np.reciprocal(norm, out=norm)
    d_xy = np.multiply(luminance, norm, out=luminance)  # half the derivative with respect to E[xy]
    similarity = np.multiply(d_xy, structure, out=moment_yy)
    similarity_sum = float(similarity.sum(dtype=np.float64))

    d_xx = np.divide(similarity, structure_norm, out=structure_norm)  # negative derivative with respect to E[xx]
    d_mean = np.multiply(structure, norm, out=structure)  # half the derivative with respect to mean_x, completed below
    d_mean *= mean_y
    d_mean -= np.multiply(np.divide(similarity, luminance_norm, out=luminance_norm), mean_x, out=luminance_norm)
    d_mean += np.multiply(mean_x, d_xx, out=mean_x)
    d_mean -= np.multiply(mean_y, d_xy, out=mean_y)

    # The window is symmetric and the padding zero, so the blur is its own transpose.
    d_image = _blur(d_mean, b)
    d_image -= np.multiply(_blur(d_xx, c), x, out=c)
    d_image += np.multiply(_blur(d_xy, mean_x), y, out=mean_x)
    d_image *= -2 * weight / count
    difference = np.subtract(x, y, out=c)
    l1_sum = float(np.abs(difference, out=mean_x).sum(dtype=np.float64))
    np.sign(difference, out=difference)
    difference *= (1 - weight) / count
    np.add(d_image, difference, out=grad)
    return l1_sum, similarity_sum


def _blur(plane: Float32[np.ndarray, "h w"], out: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The plane convolved with the SSIM window, with zero padding."""
    window = ssim_window()
    return cv2.sepFilter2D(plane, -1, window, window, dst=out, borderType=cv2.BORDER_CONSTANT)


def _buffers(shape: tuple[int, int]) -> Float32[np.ndarray, "8 h w"]:
    """Scratch planes of this thread, reused while the image size stays the same."""
    if getattr(_scratch, "planes", np.empty((0, 0, 0))).shape[1:] != shape:
        _scratch.planes = np.empty((8, *shape), np.float32)
    return _scratch.planes


@cache
def _pool() -> ThreadPoolExecutor:
    """One worker per colour plane, at most PyTorch's number of threads; NumPy and OpenCV release the GIL."""
    return ThreadPoolExecutor(max_workers=min(3, torch.get_num_threads()))
