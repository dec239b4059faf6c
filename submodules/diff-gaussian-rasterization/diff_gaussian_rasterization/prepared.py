"""Frozen geometry: everything that does not depend on the features is computed once per view."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .checks import check_features, check_gaussians, checked_scale_modifier
from .finite import check_finite, check_finite_geometry, raise_nonfinite
from .kept_weights import KeptWeights
from .lifting import LiftedLabels, lift_labels
from .prepared_ops import blend_op, prepare_op
from .view import Rendering, View


@dataclass(frozen=True, eq=False)  # two are equal when they are one: comparing tensors has no single answer
class PreparedView:
    """A view of frozen Gaussians, projected, sorted and binned. Made by `prepare`."""

    alpha: Tensor  # [H, W]
    depth: Tensor  # [H, W]
    radii: Tensor  # [n] int32
    _view: tuple[float, ...]
    _state: Tensor
    _counts: Tensor
    _weights: KeptWeights = field(default_factory=KeptWeights, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory the view holds, without the weights kept for training."""
        return sum(t.numel() * t.element_size() for t in (self.alpha, self.depth, self.radii, self._state, self._counts))

    @property
    def kept_nbytes(self) -> int:
        """Memory that the weights kept for training take now (see `set_weight_budget`)."""
        return 0 if self._weights.tensor is None else self._weights.tensor.numel()

    @property
    def num_visible(self) -> int:
        """Gaussians that are not culled."""
        return int(self._counts[0])

    @property
    def num_pairs(self) -> int:
        """(Gaussian, 16x16 tile) pairs, the measure of the work."""
        return int(self._counts[1])

    def rasterize(self, features: Tensor, background: Tensor | None = None) -> Rendering:
        """Blend `features` [n, D] over `background` [D]; differentiable in both, and only in them.

        Alpha, depth and radii are the prepared ones and carry no gradient.

        Raises:
            ValueError, TypeError: an input has the wrong shape, type or device, or a value that is not finite.
        """
        check_features(features, background, self.radii.shape[0], self.alpha)
        features = features.contiguous()
        background = None if background is None else background.contiguous()
        check_finite(features=features, background=background)
        height, width = self.alpha.shape
        weights = self._weights.for_pass(self._state, self._counts, features)
        image = blend_op(list(self._view), width, height, self._state, self._counts, self.alpha, features, background, weights)
        return Rendering(image, self.alpha, self.depth, self.radii)

    @torch.no_grad()
    def lift(self, label_maps: Tensor, samples: str = "all") -> LiftedLabels:
        """Blending weights summed over the pixels of every label: which Gaussians a label is seen on, and how much of each.

        All levels share one pass over the weights. On the CPU the result is the same bits for any number of threads; on
        CUDA sums are taken in no fixed order. Not differentiable.

        Args:
            label_maps: [L, H, W] integers of any type at the view's size and on its device; -1, as every negative number,
                means no label. Any number of labels below 2^31, and any number of levels L.
            samples: "all" sums the weight of a Gaussian over all pixels; "centre" takes only the pixel that holds its
                projected centre, so that a row is alpha times transmittance there.

        Returns:
            Per level the (Gaussian, label, weight) rows with a positive weight, and per Gaussian its weight on pixels with
            and without a label. In float32 each sum is within 1e-5 of its size plus 1e-6 pixels of the exact one, apart
            from pixels where an alpha or a transmittance is within rounding of its cut-off: there a Gaussian may come or
            go with at most 1/255 of the pixel. Memory: about 8 bytes per sum besides the result.

        Raises:
            ValueError, TypeError: label_maps has the wrong shape, type or device, or samples is not known.
        """
        height, width = self.alpha.shape
        return lift_labels(
            (height, width),
            self.radii.shape[0],
            self._state,
            self._counts,
            self._weights.tensor,
            label_maps,
            samples,
            self.alpha.dtype,
        )


@torch.no_grad()
def prepare(
    view: View,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    opacities: Tensor,
    *,
    covariances: Tensor | None = None,
    scale_modifier: float = 1.0,
    antialiasing: bool = False,
) -> PreparedView:
    """Project, sort and bin Gaussians whose geometry stays as it is. Arguments and errors as in `rasterize`."""
    check_gaussians(means, scales, rotations, covariances, opacities)
    numbers = view.values()
    means, opacities = means.contiguous(), opacities.contiguous()
    scales, rotations, covariances = (None if t is None else t.contiguous() for t in (scales, rotations, covariances))
    geometry = {
        "means": means,
        "scales": scales,
        "rotations": rotations,
        "covariances": covariances,
        "opacities": opacities,
    }
    check_finite_geometry(**geometry)
    try:
        alpha, depth, radii, state, counts = prepare_op(
            numbers, view.width, view.height, *geometry.values(), checked_scale_modifier(scale_modifier), bool(antialiasing)
        )
    except ValueError:
        raise_nonfinite(**geometry)
        raise
    return PreparedView(alpha, depth, radii, tuple(numbers), state, counts)
