"""Photometric loss of 3D Gaussian Splatting, 0.8 L1 + 0.2 (1 - SSIM), and PSNR."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from training.photometric_loss_cpu import PhotometricPlanes
from training.ssim import ssim


def photometric_loss(
    image: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"], ssim_weight: float = 0.2
) -> Float[Tensor, ""]:
    """(1 - ssim_weight) L1 + ssim_weight (1 - SSIM), means over all pixels and channels. Differentiable in `image` only."""
    if image.device.type == "cpu" and image.dtype == torch.float32:
        return PhotometricPlanes.apply(image, target, ssim_weight)
    return (1 - ssim_weight) * F.l1_loss(image, target) + ssim_weight * (1 - ssim(image, target))


def psnr(image: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"]) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1]; 100 dB when the pictures are equal to float precision."""
    error = F.mse_loss(image, target).item()
    return -10 * float(np.log10(max(error, 1e-10)))
