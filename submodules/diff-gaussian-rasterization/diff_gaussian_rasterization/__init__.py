"""Differentiable rasterizer of 3D Gaussians: any number of channels, forward and backward, on the CPU and on CUDA."""

from .installation import build_record, require_this_package

require_this_package()

from .drop_in import GaussianRasterizationSettings, GaussianRasterizer  # noqa: E402
from .harmonics import evaluate_sh  # noqa: E402
from .kept_weights import set_weight_budget, set_weight_precision  # noqa: E402
from .lifting import LabelWeights, LiftedLabels  # noqa: E402
from .prepared import PreparedView, prepare  # noqa: E402
from .rasterization import rasterize  # noqa: E402
from .view import Rendering, View  # noqa: E402

__version__ = "1.0.0"
__all__ = [
    "GaussianRasterizationSettings",
    "GaussianRasterizer",
    "LabelWeights",
    "LiftedLabels",
    "PreparedView",
    "Rendering",
    "View",
    "build_record",
    "evaluate_sh",
    "prepare",
    "rasterize",
    "set_weight_budget",
    "set_weight_precision",
]
