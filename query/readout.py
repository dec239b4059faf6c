"""Cosines between decoded codes and phrases without decoding: the decoder's last step folded into the comparison."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.pca import PCA


class Readout:
    """Cosines of decoded codes with fixed unit vectors; an embedding is never formed.

    Both compressors end in e = W h + b, made unit. For a vector v the cosine is v.(W h + b) / |W h + b|, where v W and
    v.b are known beforehand, and |W h + b| = |R (h, 1)| with the triangular factor R of (W b), which has 257 rows instead
    of 512. This is exact, and nearly halves the work of the published decoder; of principal components it leaves a product as
    wide as a code.
    """

    def __init__(self, compressor: Compressor, vectors: Float[Tensor, "v d"]):
        self._hidden, weight, bias = _last_step(compressor)
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


def _last_step(compressor: Compressor) -> tuple[Callable[[Tensor], Tensor], Float[Tensor, "d h"], Float[Tensor, " d"]]:
    """What the decoder computes before its last affine step, and that step's weight and bias."""
    if isinstance(compressor, PCA):
        return lambda codes: codes, (compressor.directions * compressor.scale).T, compressor.mean
    *layers, last = compressor.decoder

    def hidden(codes: Tensor) -> Tensor:
        for layer in layers:
            codes = F.relu_(codes) if isinstance(layer, torch.nn.ReLU) else layer(codes)
        return codes

    return hidden, last.weight, last.bias
