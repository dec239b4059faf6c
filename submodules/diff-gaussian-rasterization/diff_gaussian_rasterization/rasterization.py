"""`rasterize`: project, sort and blend in one differentiable call."""

from torch import Tensor

from .checks import check_features, check_gaussians, check_tensor, checked_scale_modifier
from .finite import check_finite, raise_nonfinite
from .rasterize_ops import RasterizeInputs, rasterize_op
from .view import Rendering, View


def rasterize(
    view: View,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    opacities: Tensor,
    features: Tensor,
    *,
    background: Tensor | None = None,
    covariances: Tensor | None = None,
    means2d: Tensor | None = None,
    scale_modifier: float = 1.0,
    antialiasing: bool = False,
) -> Rendering:
    """Blend the features of all Gaussians front to back as seen from `view`. Differentiable in every tensor but the view.

    Gradients are computed only for inputs that require them; with frozen geometry the backward pass is much cheaper.
    To render the same geometry and view repeatedly, use `prepare`.

    Args:
        view: the camera.
        means: [n, 3] centres in world units, float32 (float64 on the CPU runs a slow, exact path).
        scales: [n, 3] standard deviations in world units (activated, not logarithms); None with `covariances`.
        rotations: [n, 4] quaternions wxyz of any length (zero is the identity); None with `covariances`.
        opacities: [n] in [0, 1] (activated, not logits).
        features: [n, D] values to blend, D >= 1.
        background: [D] blended behind the Gaussians; None is zero.
        covariances: [n, 6] upper triangles xx xy xz yy yz zz in world units squared, instead of scales and rotations.
        means2d: [n, 2] or [n, 3], any values; receives the gradient with respect to the projected centres in normalised
            device units (pixel gradient times width / 2 and height / 2).
        scale_modifier: multiplies the scales.
        antialiasing: lower the opacity of Gaussians thinner than a pixel, so that they keep their energy.

    Raises:
        ValueError, TypeError: an input has the wrong shape, type or device, or a value that is not finite.
    """
    check_gaussians(means, scales, rotations, covariances, opacities)
    check_features(features, background, means.shape[0], means)
    if means2d is not None:
        columns = 3 if isinstance(means2d, Tensor) and means2d.dim() == 2 and means2d.shape[1] == 3 else 2
        check_tensor("means2d", means2d, (means.shape[0], columns), means)
    numbers = view.values()
    means, opacities, features = means.contiguous(), opacities.contiguous(), features.contiguous()
    scales, rotations, covariances, background = (
        None if t is None else t.contiguous() for t in (scales, rotations, covariances, background)
    )
    geometry = {
        "means": means,
        "scales": scales,
        "rotations": rotations,
        "covariances": covariances,
        "opacities": opacities,
    }
    check_finite(features=features, background=background)
    try:
        image, alpha, depth, radii, _, _ = rasterize_op.run(
            RasterizeInputs(
                numbers,
                view.width,
                view.height,
                **geometry,
                features=features,
                means2d=means2d,
                background=background,
                scale_modifier=checked_scale_modifier(scale_modifier),
                antialiasing=bool(antialiasing),
                with_depth=True,
            )
        )
    except ValueError:
        raise_nonfinite(**geometry)
        raise
    return Rendering(image, alpha, depth, radii)
