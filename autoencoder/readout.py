"""Cosines between decoded codes and phrases without decoding: the decoder's last linear layer is folded into the dot products."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


class Readout:
    """Cosines of decoded codes with fixed unit vectors; an embedding is never formed.

    Decoders end in e = W h + b, scaled to unit length. For a vector v the cosine is v.(W h + b) / |W h + b|, where v W and
    v.b are computed beforehand, and |W h + b| = |R (h, 1)| with the triangular factor R of (W b), which has 257 rows instead
    of 512. This is exact and nearly halves the work of the published decoder; for principal components only a product as wide
    as a code remains.
    """

    def __init__(
        self,
        hidden: Callable[[Float[Tensor, "k c"]], Float[Tensor, "k h"]],
        weight: Float[Tensor, "d h"],
        bias: Float[Tensor, " d"],
        vectors: Float[Tensor, "v d"],
    ):
        """`hidden` is what the decoder computes before its last affine step, `weight` and `bias` are that step's."""
        self._hidden = hidden
        affine = torch.cat([weight, bias[:, None]], 1).double()
        factor = torch.linalg.qr(affine, mode="r").R
        self._num_rows = len(factor)
        self.width = self._num_rows + len(vectors)
        self._matrix = torch.cat([factor, vectors.double() @ affine]).T.to(weight.dtype).contiguous()

    def __call__(self, codes: Float[Tensor, "k c"]) -> Float[Tensor, "k v"]:
        """Cosine of each code's embedding with each vector."""
        product = torch.addmm(self._matrix[-1], self._hidden(codes), self._matrix[:-1])
        lengths = torch.linalg.vector_norm(product[:, : self._num_rows], dim=1, keepdim=True)
        return product[:, self._num_rows :] / lengths.clamp_min(1e-12)
