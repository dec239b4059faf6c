"""The API of the published packages of the same name, so that existing 3DGS and LangSplat code runs unchanged."""

from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_gaussians, check_tensor, checked_scale_modifier, is_number
from .finite import check_finite, raise_nonfinite
from .harmonics import evaluate_sh
from .rasterize_ops import RasterizeInputs, rasterize_op
from .view import View

NEAR_PLANE = 0.2


class GaussianRasterizationSettings(NamedTuple):
    """A camera and options, with matrices in the row-vector convention (transposed).

    `prefiltered` and `debug` have no effect: culled Gaussians are never drawn, and errors are always raised. The
    options that are given select what the rasterizer returns: by default (color, radii), as in the first 3DGS release; with
    `antialiasing` True or False (color, radii, inverse depth), as in the later release; with `include_feature` True or False
    (color, language_feature, radii), as in LangSplat. Positions are those of LangSplat's package, here and in the call of
    `GaussianRasterizer`; 3DGS, whose optional arguments have other positions, passes all of them by name.
    """

    image_height: int
    image_width: int
    tanfovx: float
    tanfovy: float
    bg: Tensor
    scale_modifier: float
    viewmatrix: Tensor
    projmatrix: Tensor
    sh_degree: int
    campos: Tensor
    prefiltered: bool
    debug: bool
    include_feature: bool | None = None
    antialiasing: bool | None = None

    def view(self) -> View:
        """The camera. The principal point comes from `projmatrix` (viewmatrix times projection, transposed).

        Raises:
            ValueError: the matrices have the wrong shape or disagree with each other or with tanfovx, tanfovy.
        """
        for name in ("viewmatrix", "projmatrix"):
            matrix = getattr(self, name)
            if not isinstance(matrix, Tensor) or tuple(matrix.shape) != (4, 4):
                raise ValueError(
                    f"{name} must be a tensor of shape [4, 4], found {getattr(matrix, 'shape', type(matrix).__name__)}."
                )
        if not (is_number(self.tanfovx) and is_number(self.tanfovy) and self.tanfovx > 0 and self.tanfovy > 0):
            raise ValueError(f"tanfovx and tanfovy must be positive, found {self.tanfovx} and {self.tanfovy}.")
        width, height = int(self.image_width), int(self.image_height)
        world_to_camera = self.viewmatrix.detach().to("cpu", torch.float64).T
        full = self.projmatrix.detach().to("cpu", torch.float64).T
        if not (torch.isfinite(world_to_camera).all() and torch.isfinite(full).all()):
            raise ValueError("viewmatrix or projmatrix holds a value that is not finite.")
        if abs(torch.linalg.det(world_to_camera)) < 1e-12:
            raise ValueError("viewmatrix is singular; it must be the transposed world-to-camera matrix.")
        projection = torch.linalg.solve(world_to_camera.T, full.T).T  # full = projection @ world_to_camera
        by_w = projection / projection[3, 2] if abs(projection[3, 2]) > 1e-12 else projection
        slope_x, slope_y = float(by_w[0, 0]) * self.tanfovx, float(by_w[1, 1]) * self.tanfovy
        perspective = abs(float(projection[3, 2])) > 1e-12 and float(by_w[3, :2].abs().max()) < 1e-3
        if not perspective or abs(slope_x - 1) > 1e-2 or abs(slope_y - 1) > 1e-2:
            raise ValueError(
                "projmatrix does not belong to viewmatrix, tanfovx and tanfovy: it must be viewmatrix @ P with P transposed, "
                "P[0][0] = 1 / tanfovx, P[1][1] = 1 / tanfovy; "
                f"found P[0][0] tanfovx = {slope_x:.4g}, P[1][1] tanfovy = {slope_y:.4g}."
            )
        return View(
            world_to_camera=world_to_camera,
            fx=width / (2 * self.tanfovx),
            fy=height / (2 * self.tanfovy),
            cx=(float(by_w[0, 2]) + 1) * width / 2,
            cy=(float(by_w[1, 2]) + 1) * height / 2,
            width=width,
            height=height,
        )


class GaussianRasterizer(torch.nn.Module):
    """Rasterizes colours, and language features with the same blending weights, for one camera and set of options."""

    def __init__(self, raster_settings: GaussianRasterizationSettings):
        super().__init__()
        self.raster_settings = raster_settings

    @torch.no_grad()
    def markVisible(self, positions: Tensor) -> Tensor:  # noqa: N802 (published name)
        """Bool [n]: which positions are in front of the near plane."""
        row = self.raster_settings.viewmatrix.to(positions)[:, 2]
        return (positions * row[:3]).sum(1) + row[3] > NEAR_PLANE  # not a product of matrices: autocast would round it

    def forward(
        self,
        means3D: Tensor,  # noqa: N803 (published names)
        means2D: Tensor | None,  # noqa: N803
        opacities: Tensor,
        shs: Tensor | None = None,
        colors_precomp: Tensor | None = None,
        language_feature_precomp: Tensor | None = None,
        scales: Tensor | None = None,
        rotations: Tensor | None = None,
        cov3D_precomp: Tensor | None = None,  # noqa: N803
    ) -> tuple[Tensor, ...]:
        """(color [3, H, W], radii [n]), or one of the other tuples described in `GaussianRasterizationSettings`.

        Colours are blended over `bg`, language features [D, H, W] and inverse depths [1, H, W] (1 / z, world units) over
        zero. With `include_feature=False` the language feature is an empty [0, H, W] image.

        Raises:
            ValueError, TypeError: shs and colors_precomp both given or both missing, likewise scales/rotations and
                cov3D_precomp; a tensor of the wrong shape, type or device, or with a value that is not finite.
        """
        settings = self.raster_settings
        shs, colors_precomp, language_feature_precomp = map(_given, (shs, colors_precomp, language_feature_precomp))
        scales, rotations, covariances = map(_given, (scales, rotations, cov3D_precomp))
        if (shs is None) == (colors_precomp is None):
            raise ValueError(f"give exactly one of shs and colors_precomp; {'neither' if shs is None else 'both'} found.")
        if isinstance(opacities, Tensor) and opacities.dim() == 2 and opacities.shape[1] == 1:
            opacities = opacities[:, 0]
        check_gaussians(means3D, scales, rotations, covariances, opacities)
        n = means3D.shape[0]
        if means2D is not None:
            columns = 3 if isinstance(means2D, Tensor) and means2D.dim() == 2 and means2D.shape[1] == 3 else 2
            check_tensor("means2D", means2D, (n, columns), means3D)
        if colors_precomp is not None:
            check_tensor("colors_precomp", colors_precomp, (n, 3), means3D)
            colors = colors_precomp.contiguous()
        else:
            campos = settings.campos.reshape(-1) if isinstance(settings.campos, Tensor) else settings.campos
            check_tensor("campos", campos, (3,))
            colors = evaluate_sh(settings.sh_degree, means3D, campos, shs)
        check_tensor("bg", settings.bg, (3,))
        background = settings.bg.to(means3D).contiguous()
        view = settings.view()

        channels = 0
        features = colors
        if settings.include_feature:
            if language_feature_precomp is None:
                raise ValueError("include_feature is True, but language_feature_precomp is missing.")
            check_tensor("language_feature_precomp", language_feature_precomp, (n, "D"), means3D)
            channels = language_feature_precomp.shape[1]
            features = torch.cat([colors, language_feature_precomp], 1)
            background = torch.cat([background, background.new_zeros(channels)])
        elif settings.antialiasing is not None and settings.include_feature is None:
            features = torch.cat([colors, _inverse_depths(view, means3D)], 1)
            background = torch.cat([background, background.new_zeros(1)])
        geometry = {
            "means3D": means3D.contiguous(),
            "scales": None if scales is None else scales.contiguous(),
            "rotations": None if rotations is None else rotations.contiguous(),
            "cov3D_precomp": None if covariances is None else covariances.contiguous(),
            "opacities": opacities.contiguous(),
        }
        check_finite(
            colors_precomp=None if colors_precomp is None else colors,
            language_feature_precomp=features[:, 3:].contiguous() if channels else None,
            bg=background,
        )
        try:
            image, _, _, radii, _, _ = rasterize_op.run(
                RasterizeInputs(
                    view.values(),
                    view.width,
                    view.height,
                    *geometry.values(),
                    features=features,
                    means2d=means2D,
                    background=background,
                    scale_modifier=checked_scale_modifier(settings.scale_modifier),
                    antialiasing=bool(settings.antialiasing),
                    with_depth=False,
                )
            )
        except ValueError:
            raise_nonfinite(**geometry)
            raise
        if settings.include_feature is not None:
            return image[:3], image[3:], radii
        return (image, radii) if settings.antialiasing is None else (image[:3], radii, image[3:])


def _given(tensor: Tensor | None) -> Tensor | None:
    # Callers of the published packages also pass torch.Tensor([]) for None.
    return None if isinstance(tensor, Tensor) and tensor.shape == (0,) else tensor


def _inverse_depths(view: View, means: Tensor) -> Tensor:
    """1 / z [n, 1] in camera coordinates. z is clamped to the near plane: Gaussians behind it are culled, their values unused."""
    row = view.world_to_camera[2].to(means)
    return 1 / ((means * row[:3]).sum(1) + row[3]).clamp_min(NEAR_PLANE)[:, None]  # as in `markVisible`
