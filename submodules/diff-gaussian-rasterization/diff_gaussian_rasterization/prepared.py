"""Frozen geometry: everything that does not depend on the features is computed once per view."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .checks import check_features, check_gaussians, checked_scale_modifier
from .finite import check_finite, raise_nonfinite
from .kept_weights import KeptWeights
from .lifting import LiftedLabels, lift_labels
from .prepared_ops import BlendInputs, PrepareInputs, blend_into, blend_op, prepare_op
from .view import Rendering, View


@dataclass(frozen=True, eq=False)  # compared by identity: == on tensors is elementwise
class PreparedView:
    """A view of frozen Gaussians, projected, sorted and binned. Returned by `prepare`."""

    radii: Tensor  # [n] int32
    width: int  # pixels
    height: int
    _view: list[float]
    _like: Tensor  # empty tensor with the Gaussians' type and device
    _state: Tensor
    _counts: Tensor
    _weights: KeptWeights = field(default_factory=KeptWeights, repr=False)
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def _camera(self) -> tuple[list[float], int, int]:
        return self._view, self.width, self.height

    @property
    def _coverage(self) -> tuple[Tensor, Tensor]:
        """Alpha and depth; cached, which is a cheaper blend with the first image or one on demand: training needs neither."""
        if (known := self._known_coverage()) is not None:
            return known
        # Not an inference tensor, even in inference mode: a later training pass saves it for its backward pass.
        with torch.inference_mode(False):
            alpha, depth = (self._like.new_empty(self.height, self.width) for _ in range(2))
        blend_into(self._camera, self._state, self._counts, {"channels": 0}, {"alpha": alpha, "depth": depth})
        return self._remember(alpha, depth)

    def _known_coverage(self) -> tuple[Tensor, Tensor] | None:
        """Alpha and depth of an earlier call, unless the caller has changed them in place."""
        known = self._cache.get("coverage")
        return known if known is not None and self._cache["versions"] == (known[0]._version, known[1]._version) else None

    def _remember(self, alpha: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        self._cache["coverage"], self._cache["versions"] = (alpha, depth), (alpha._version, depth._version)
        return alpha, depth

    @property
    def alpha(self) -> Tensor:
        """[H, W] in [0, 1], the sum of blending weights of a pixel."""
        return self._coverage[0]

    @property
    def depth(self) -> Tensor:
        """[H, W], the sum of blending weight times camera z, in world units."""
        return self._coverage[1]

    @property
    def nbytes(self) -> int:
        """Bytes the view takes, including alpha and depth, without the weights kept for training."""
        images = 2 * self.width * self.height * self._like.element_size()
        return images + sum(t.numel() * t.element_size() for t in (self.radii, self._state, self._counts))

    @property
    def kept_nbytes(self) -> int:
        """Bytes that the weights kept for training take now (see `set_weight_budget`)."""
        return 0 if self._weights.tensor is None else self._weights.tensor.numel()

    @property
    def num_visible(self) -> int:
        """Number of Gaussians that are not culled."""
        return int(self._counts[0])

    @property
    def num_pairs(self) -> int:
        """Number of (Gaussian, 16x16 tile) pairs; the cost of a pass grows with it."""
        return int(self._counts[1])

    def rasterize(self, features: Tensor, background: Tensor | None = None) -> Rendering:
        """Blend `features` [n, D] over `background` [D]; differentiable in both and in nothing else.

        Alpha, depth and radii are the prepared ones and carry no gradient. On the CPU, `set_weight_precision` says how
        precisely features that require a gradient are blended.

        Raises:
            ValueError, TypeError: an input has the wrong shape, type or device, or a value that is not finite.
        """
        check_features(features, background, self.radii.shape[0], self._like)
        features = features.contiguous()
        background = None if background is None else background.contiguous()
        check_finite(features=features, background=background)
        weights = self._weights.for_pass(self._camera, self._state, self._counts, features)
        known = self._known_coverage()
        image, *coverage = blend_op.run(
            BlendInputs(
                *self._camera, self._state, self._counts, features, background, None if known is None else known[0], *weights
            )
        )
        if known is not None:
            coverage = known
        elif not (coverage[0].is_inference() or (features.is_cuda and torch.cuda.is_current_stream_capturing())):
            # During graph capture the results are graph memory, which has no values before the first replay.
            self._remember(*coverage)
        return Rendering(image, *coverage, self.radii)

    @torch.no_grad()
    def lift(self, label_maps: Tensor, samples: str = "all") -> LiftedLabels:
        """Blending weights summed over the pixels of every label: the Gaussians of each label and their weights.

        All levels share one pass over the weights. On the CPU the result is bitwise the same for any number of threads;
        on CUDA the summation order is not deterministic. Not differentiable.

        Args:
            label_maps: [L, H, W] integers of any type at the view's size and on its device; negative numbers (-1 by
                convention) mean no label. Any number of labels below 2^31, and any number of levels L.
            samples: "all" sums the weight of a Gaussian over all pixels; "centre" takes only the pixel that contains its
                projected centre, so that the weight is alpha times transmittance there.

        Returns:
            Per level the (Gaussian, label, weight) rows with a positive weight, and the summed weight of each Gaussian over
            pixels with and without a label. In float32 each sum is within 1e-5 of its size plus 1e-6 pixels of the exact
            one, apart from pixels where an alpha or a transmittance is within rounding of its cut-off: there a Gaussian may
            be included or not, which changes its sum by at most 1/255 of the pixel. Memory: about 8 bytes per sum besides
            the result.

        Raises:
            ValueError, TypeError: label_maps has the wrong shape, type or device, or samples is neither "all" nor "centre".
        """
        return lift_labels(
            (self.height, self.width),
            self.radii.shape[0],
            self._state,
            self._counts,
            self._weights.exact,
            label_maps,
            samples,
            self._like.dtype,
        )


@torch.inference_mode(False)  # the view can be trained on, whatever the mode it was prepared in
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
    """Project, sort and bin Gaussians with frozen geometry. Arguments and errors as in `rasterize`."""
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
    try:
        radii, state, counts = prepare_op.run(
            PrepareInputs(
                numbers,
                view.width,
                view.height,
                **geometry,
                scale_modifier=checked_scale_modifier(scale_modifier),
                antialiasing=bool(antialiasing),
            )
        )
    except ValueError:
        raise_nonfinite(**geometry)
        raise
    return PreparedView(radii, view.width, view.height, numbers, means.new_empty(0), state, counts)
