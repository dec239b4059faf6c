"""Codes divided by their length before they are blended, as published for the autoencoder's codes."""

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-9  # added to the length before dividing by it, as published


def unit_codes(codes: Float[Tensor, "n lc"], code_width: int) -> Float[Tensor, "n lc"]:
    """Codes divided by their length at each level; zero stays zero. Differentiable."""
    return _UnitCodes.apply(codes, code_width)


class _UnitCodes(torch.autograd.Function):
    """Hand-written derivative in three passes; at zero the derivative of the length is taken as zero."""

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
