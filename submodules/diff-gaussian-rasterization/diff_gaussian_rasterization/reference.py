"""Reference rasterizer in plain PyTorch, every Gaussian at every pixel: the specification, and the ground truth of the tests.

Same arguments and results as `diff_gaussian_rasterization.rasterize` and `PreparedView.lift`, in float32 or float64, on any
device. Costs n * height * width operations, so keep images small.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .lifting import LabelWeights, LiftedLabels
from .view import Rendering, View

NEAR_PLANE = 0.2  # culled at camera z <= this
BLUR = 0.3  # px^2 on the diagonal of the 2D covariance
FRUSTUM_MARGIN = 1.3  # the Jacobian is taken at x/z, y/z clamped to this times the half-angle tangent
MAX_ALPHA, MIN_ALPHA = 0.99, 1 / 255
MIN_TRANSMITTANCE = 1e-4
MIN_COMPENSATION = 2.5e-5  # lower bound of the determinant ratio under antialiasing
PIXELS_AT_ONCE = 1024  # bounds the memory of the dense [pixels, n] evaluation


def rotation_matrices(rotations: Tensor) -> Tensor:
    """[n, 3, 3] from quaternions wxyz [n, 4] of any length; the zero quaternion gives the identity."""
    length = rotations.norm(dim=1, keepdim=True)
    identity = torch.tensor([1.0, 0, 0, 0], dtype=rotations.dtype, device=rotations.device)
    safe = torch.where(length > 1e-12, rotations, identity)  # keeps the norm's gradient finite at zero
    w, x, y, z = (safe / safe.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1),
    ]
    return torch.stack(rows, 1)


def covariance_matrices(scales: Tensor, rotations: Tensor, scale_modifier: float = 1.0) -> Tensor:
    """[n, 3, 3] R S S^T R^T from standard deviations [n, 3] and quaternions [n, 4]."""
    m = rotation_matrices(rotations) * (scale_modifier * scales)[:, None, :]
    return m @ m.mT


def _from_upper(c: Tensor) -> Tensor:
    return torch.stack([c[:, [0, 1, 2]], c[:, [1, 3, 4]], c[:, [2, 4, 5]]], 1)


@dataclass(frozen=True)
class Projected:
    """The v Gaussians that are not culled, nearest first; equal depths keep the input order."""

    gaussians: Tensor  # [v] int64, indices into the input
    centre: Tensor  # [v, 2] pixels
    covariance: Tensor  # [v, 3] xx xy yy, pixels squared, with blur
    opacity: Tensor  # [v]
    depth: Tensor  # [v] camera z
    radii: Tensor  # [n] int32 pixels, 0 where culled


def project(
    view: View,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    opacities: Tensor,
    *,
    covariances: Tensor | None = None,
    means2d: Tensor | None = None,
    scale_modifier: float = 1.0,
    antialiasing: bool = False,
) -> Projected:
    """Project, cull and sort Gaussians. See `diff_gaussian_rasterization.rasterize` for the arguments."""
    width, height = view.width, view.height
    world_to_camera = view.world_to_camera.to(means)
    rotation, translation = world_to_camera[:3, :3], world_to_camera[:3, 3]

    # Cull before dividing by depth.
    camera = means @ rotation.T + translation
    front = (camera[:, 2] > NEAR_PLANE).nonzero()[:, 0]
    x, y, z = camera[front].unbind(1)
    mean2d = torch.stack([view.fx * x / z + view.cx, view.fy * y / z + view.cy], 1)
    if means2d is not None:  # its value is not used; it receives the gradient in normalised device units
        offset = means2d[front, :2] - means2d[front, :2].detach()
        mean2d = mean2d + offset * torch.tensor([width / 2, height / 2]).to(means)

    limit_x, limit_y = FRUSTUM_MARGIN * width / (2 * view.fx), FRUSTUM_MARGIN * height / (2 * view.fy)
    tx, ty = (x / z).clamp(-limit_x, limit_x), (y / z).clamp(-limit_y, limit_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([view.fx / z, zero, -view.fx * tx / z], 1), torch.stack([zero, view.fy / z, -view.fy * ty / z], 1)], 1
    )
    if covariances is not None:
        covariance3d = _from_upper(covariances[front])
    else:
        covariance3d = covariance_matrices(scales[front], rotations[front], scale_modifier)
    projection = jacobian @ rotation
    sharp = projection @ covariance3d @ projection.mT
    a, b, c = sharp[:, 0, 0] + BLUR, sharp[:, 0, 1], sharp[:, 1, 1] + BLUR
    det = a * c - b * b
    opacity = opacities[front]
    if antialiasing:
        sharp_det = sharp[:, 0, 0] * sharp[:, 1, 1] - b * b
        opacity = opacity * (sharp_det / det).clamp(min=MIN_COMPENSATION).sqrt()

    # A Gaussian is visible if the bounding box of its alpha >= 1/255 region contains a pixel centre.
    reach = 2 * (opacity.detach().clamp(min=1e-30) / MIN_ALPHA).log()
    half_width, half_height = (reach.clamp(min=0) * a.detach()).sqrt(), (reach.clamp(min=0) * c.detach()).sqrt()
    centre = mean2d.detach()
    first_x, last_x = (centre[:, 0] - half_width - 0.5).ceil().clamp(min=0), (centre[:, 0] + half_width - 0.5).floor()
    first_y, last_y = (centre[:, 1] - half_height - 0.5).ceil().clamp(min=0), (centre[:, 1] + half_height - 0.5).floor()
    seen = (reach >= 0) & (first_x <= last_x.clamp(max=width - 1)) & (first_y <= last_y.clamp(max=height - 1)) & (det > 0)
    radius = (3 * ((a + c) / 2 + (((a - c) / 2) ** 2 + b * b).sqrt()).sqrt()).ceil()
    radii = torch.zeros(len(means), dtype=torch.int32, device=means.device)
    radii[front] = torch.where(seen, radius, 0).to(torch.int32)

    order = torch.argsort(torch.where(seen, z.detach(), math.inf), stable=True)[: int(seen.sum())]
    covariance = torch.stack([a, b, c], 1)[order]
    return Projected(front[order], mean2d[order], covariance, opacity[order], z[order], radii)


def blending_weights(projected: Projected, pixels: Tensor) -> Tensor:
    """[p, v] alpha times transmittance of each projected Gaussian at pixel centres `pixels` [p, 2]."""
    a, b, c = projected.covariance.unbind(1)
    dx, dy = (pixels[:, None] - projected.centre[None]).unbind(-1)
    q = (c * dx * dx - 2 * b * dx * dy + a * dy * dy) / (a * c - b * b)
    alpha = (projected.opacity * torch.exp(-q / 2)).clamp(max=MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, 0)
    after = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
    # `after` never increases, so every Gaussian from the first one below the limit on gets weight zero.
    return torch.where(after >= MIN_TRANSMITTANCE, alpha * before, 0)


def pixel_centres(view: View, like: Tensor) -> Tensor:
    """[height * width, 2] (x, y) in pixels, row by row."""
    rows, columns = torch.meshgrid(
        torch.arange(view.height, device=like.device), torch.arange(view.width, device=like.device), indexing="ij"
    )
    return torch.stack([columns, rows], -1).reshape(-1, 2).to(like) + 0.5


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
    """Blend `features` front to back. See `diff_gaussian_rasterization.rasterize` for the arguments."""
    options = {"covariances": covariances, "scale_modifier": scale_modifier, "antialiasing": antialiasing}
    projected = project(view, means, scales, rotations, opacities, means2d=means2d, **options)
    values = features[projected.gaussians]
    image, alpha, depth = [], [], []
    for pixels in pixel_centres(view, means).split(PIXELS_AT_ONCE):
        weights = blending_weights(projected, pixels)
        image.append(weights @ values)
        alpha.append(weights.sum(1))
        depth.append(weights @ projected.depth)
    flat, alpha = torch.cat(image), torch.cat(alpha)
    if background is not None:
        flat = flat + (1 - alpha)[:, None] * background
    height, width = view.height, view.width
    return Rendering(
        flat.T.reshape(features.shape[1], height, width),
        alpha.reshape(height, width),
        torch.cat(depth).reshape(height, width),
        projected.radii,
    )


def lift(
    view: View,
    means: Tensor,
    scales: Tensor | None,
    rotations: Tensor | None,
    opacities: Tensor,
    label_maps: Tensor,
    samples: str = "all",
    **options: object,
) -> LiftedLabels:
    """Sum blending weights by label. See `PreparedView.lift`; `options` are those of `project`."""
    n = len(means)
    values, slots = label_maps.clamp(min=-1).flatten(1).long().unique(return_inverse=True)
    projected = project(view, means, scales, rotations, opacities, **options)
    sums = means.new_zeros(len(slots), n, len(values))
    at_once = range(0, slots.shape[1], PIXELS_AT_ONCE)
    for first, pixels in zip(at_once, pixel_centres(view, means).split(PIXELS_AT_ONCE), strict=True):
        weights = blending_weights(projected, pixels)
        if samples == "centre":
            holds = (projected.centre.floor()[None] == pixels[:, None].floor()).all(-1)
            weights = torch.where(holds, weights, 0)
        by_slot = weights.new_zeros(len(values), len(projected.gaussians))
        for level, of_pixel in enumerate(slots[:, first : first + PIXELS_AT_ONCE]):
            sums[level].index_add_(0, projected.gaussians, by_slot.zero_().index_add_(0, of_pixel, weights).T)
    has = values >= 0
    levels = []
    for level in sums[:, :, has]:
        gaussians, slot = level.nonzero().unbind(1)
        levels.append(LabelWeights(gaussians, values[has][slot].to(torch.int32), level[gaussians, slot]))
    return LiftedLabels(tuple(levels), sums[:, :, has].sum(2), sums[:, :, ~has].sum(2))


_SH_C1 = 0.4886025119029199
_SH_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_SH_C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)


def evaluate_sh(degree: int, means: Tensor, camera_center: Tensor, sh_coeffs: Tensor) -> Tensor:
    """Colours [n, 3] = max(0, sh + 0.5) seen from `camera_center` [3], in the basis order and signs of the 3DGS files."""
    x, y, z = torch.nn.functional.normalize(means - camera_center, dim=1).unbind(1)
    basis = [torch.full_like(x, 0.28209479177387814)]
    if degree > 0:
        basis += [-_SH_C1 * y, _SH_C1 * z, -_SH_C1 * x]
    if degree > 1:
        k, k0, k2 = _SH_C2
        basis += [k * x * y, -k * y * z, k0 * (2 * z * z - x * x - y * y), -k * x * z, k2 * (x * x - y * y)]
    if degree > 2:
        k3, k2, k1, k0, k4 = _SH_C3
        basis += [
            -k3 * y * (3 * x * x - y * y),
            k2 * x * y * z,
            -k1 * y * (4 * z * z - x * x - y * y),
            k0 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -k1 * x * (4 * z * z - x * x - y * y),
            k4 * z * (x * x - y * y),
            -k3 * x * (x * x - 3 * y * y),
        ]
    weights = torch.stack(basis, 1)
    return (torch.einsum("nk,nkc->nc", weights, sh_coeffs[:, : weights.shape[1]]) + 0.5).clamp(min=0)
