"""Codes of the Gaussians in closed form: the weighted mean of the target codes at the pixels that each one covers."""

from collections.abc import Sequence

import torch
from diff_gaussian_rasterization import PreparedView
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from autoencoder.compressor import Compressor
from features.targets import Target


def lifted_codes(
    views: Sequence[PreparedView], targets: Sequence[Target], num_gaussians: int, num_levels: int, compressor: Compressor
) -> Float[Tensor, "n lc"]:
    """Mean of the target codes over all labelled pixels, weighted by a Gaussian's blending weights; zero if these are all zero.

    The backward pass of blending computes the weighted sums over pixels, so a view costs one iteration of training.
    """
    device = targets[0].image().device
    channels = num_levels * compressor.code_width
    sums = torch.zeros(num_gaussians, channels + num_levels, device=device)
    zeros = torch.zeros_like(sums).requires_grad_()
    for view, target in zip(tqdm(views, desc="lifting codes", unit="view"), targets, strict=True):
        image, labelled = target.image(), target.labelled()
        shares = torch.ones_like(image[:num_levels]) if labelled is None else labelled.to(image.dtype)
        (sum_over_pixels,) = torch.autograd.grad(view.rasterize(zeros).image, zeros, torch.cat([image, shares]))
        sums += sum_over_pixels
    weight = sums[:, channels:].clamp_min(torch.finfo(torch.float32).tiny).repeat_interleave(compressor.code_width, 1)
    return compressor.blended(sums[:, :channels] / weight)
