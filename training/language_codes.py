"""The codes of the Gaussians: what is optimised, what is blended, and a first guess in closed form."""

from collections.abc import Sequence

import torch
from diff_gaussian_rasterization import PreparedView
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from features.targets import Target

EPS = 1e-9  # added to the length of a code before dividing by it, as published


def blended_codes(codes: Float[Tensor, "n lc"], code_width: int, unit: bool) -> Float[Tensor, "n lc"]:
    """What the rasterizer blends: codes over their length, level by level, or, when codes are not `unit`, as they are.

    The codes of an autoencoder lie on the unit sphere; those of principal components carry meaning in their length.
    """
    if not unit:
        return codes
    return _UnitCodes.apply(codes, code_width)


class _UnitCodes(torch.autograd.Function):
    """Codes over their length, with the derivative in three passes; at zero the length's own derivative is zero."""

    @staticmethod
    def forward(ctx, codes: Tensor, code_width: int) -> Tensor:
        by_level = codes.unflatten(1, (-1, code_width))
        length = torch.linalg.vector_norm(by_level, dim=2, keepdim=True) + EPS
        unit = by_level / length
        ctx.save_for_backward(unit, length)
        return unit.flatten(1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        unit, length = ctx.saved_tensors
        grad = grad.unflatten(1, unit.shape[1:])
        along = torch.linalg.vecdot(grad, unit).unsqueeze(2)
        return torch.addcmul(grad, unit, along, value=-1).div_(length).flatten(1), None


def lifted_codes(
    views: Sequence[PreparedView], targets: Sequence[Target], num_gaussians: int, num_levels: int, code_width: int, unit: bool
) -> Float[Tensor, "n lc"]:
    """Mean of the codes of all pixels a Gaussian is seen in, weighted by its share of each pixel; zero if never seen.

    The weighted sums over pixels are what blending's backward pass computes, so a view costs one iteration of training.
    """
    device = targets[0].image().device
    channels = num_levels * code_width
    sums = torch.zeros(num_gaussians, channels + num_levels, device=device)
    zeros = torch.zeros_like(sums).requires_grad_()
    for view, target in zip(tqdm(views, desc="lifting codes", unit="view"), targets, strict=True):
        image, labelled = target.image(), target.labelled()
        shares = torch.ones_like(image[:num_levels]) if labelled is None else labelled.to(image.dtype)
        (sum_over_pixels,) = torch.autograd.grad(view.rasterize(zeros).image, zeros, torch.cat([image, shares]))
        sums += sum_over_pixels
    weight = sums[:, channels:].clamp_min(torch.finfo(torch.float32).tiny).repeat_interleave(code_width, 1)
    return blended_codes(sums[:, :channels] / weight, code_width, unit)
