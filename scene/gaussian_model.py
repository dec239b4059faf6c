"""The Gaussians of a scene: raw parameters for optimisation and storage, activated parameters for rendering."""

import hashlib
import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workspace import InputError

SH_C0 = 0.28209479177387814  # value of the constant spherical harmonic
INITIAL_OPACITY = 0.1


def num_sh_rest(degree: int) -> int:
    """Number of view-dependent coefficients per colour channel at an SH degree."""
    return (degree + 1) ** 2 - 1


def rotated(vectors: Float[Tensor, "n 3"], quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3"]:
    """Each vector rotated by its quaternion (wxyz, any norm); the zero quaternion is the identity."""
    unit = torch.nn.functional.normalize(quats, dim=1)
    twice = 2 * torch.linalg.cross(unit[:, 1:], vectors)
    return vectors + unit[:, :1] * twice + torch.linalg.cross(unit[:, 1:], twice)


@dataclass
class GaussianModel:
    """Raw float32 parameters of n Gaussians, all on one device.

    Scales are logarithms, quaternions (wxyz) need not have unit length, opacities are logits, colours are spherical
    harmonics. `active_sh_degree` is the degree training has reached; coefficients above it are still zero.
    """

    means: Float[Tensor, "n 3"]
    log_scales: Float[Tensor, "n 3"]
    quats: Float[Tensor, "n 4"]
    opacity_logits: Float[Tensor, "n 1"]
    sh_dc: Float[Tensor, "n 1 3"]
    sh_rest: Float[Tensor, "n k 3"]
    active_sh_degree: int

    def __post_init__(self):
        if not 0 <= self.active_sh_degree <= self.max_sh_degree:
            raise ValueError(f"active SH degree {self.active_sh_degree} with coefficients up to degree {self.max_sh_degree}.")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def max_sh_degree(self) -> int:
        """Highest SH degree with stored coefficients."""
        return math.isqrt(self.sh_rest.shape[1] + 1) - 1

    @property
    def scales(self) -> Float[Tensor, "n 3"]:
        """Standard deviations along the Gaussian's principal axes, in world units."""
        return self.log_scales.exp()

    @property
    def rotations(self) -> Float[Tensor, "n 4"]:
        """Unit quaternions, wxyz."""
        return torch.nn.functional.normalize(self.quats, dim=-1)

    @property
    def opacities(self) -> Float[Tensor, " n"]:
        """Opacity at the centre, 0..1."""
        return self.opacity_logits[:, 0].sigmoid()

    @property
    def sh_coeffs(self) -> Float[Tensor, "n c 3"]:
        """All SH coefficients, the constant term first."""
        return torch.cat([self.sh_dc, self.sh_rest], dim=1)

    def to(self, device: torch.device | str) -> "GaussianModel":
        """The same Gaussians on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if isinstance(v, Tensor)})

    def subset(self, kept: Bool[Tensor, " n"]) -> "GaussianModel":
        """The Gaussians where the mask `kept` is true, in the same order."""
        rows = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: rows[name][kept] for name in rows if isinstance(rows[name], Tensor)})

    def geometry_hash(self) -> str:
        """SHA-256 (hex) of all parameters except colour: codes computed for one geometry are rejected on another."""
        digest = hashlib.sha256()
        for name in ("means", "log_scales", "quats", "opacity_logits"):
            digest.update(
                getattr(self, name).detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False).tobytes()
            )
        return digest.hexdigest()

    @classmethod
    def from_points(
        cls, xyz: Float[np.ndarray, "n 3"] | Float[Tensor, "n 3"], rgb: np.ndarray | Tensor, sh_degree: int = 3
    ) -> "GaussianModel":
        """One isotropic, low-opacity Gaussian per point; its scale is the RMS distance to the three nearest neighbours.

        Args:
            xyz: positions, world units.
            rgb: colours [n, 3], 0..255.
            sh_degree: coefficients up to this degree are allocated; training starts at degree 0.

        Raises:
            InputError: fewer than four points, or positions that are not finite.
        """
        from simple_knn import mean_squared_distance  # compiled extension, not needed to read Gaussians

        means = torch.as_tensor(xyz, dtype=torch.float32).clone()
        colors = torch.as_tensor(rgb).to(means.device, torch.float32) / 255
        n = len(means)
        if n < 4:
            raise InputError(f"The scene has {n} points; Gaussians start from at least 4, usually from thousands.")
        if not means.isfinite().all():
            raise InputError(
                "The scene has points whose position is not a finite number. Make its cameras again: python convert.py"
            )
        spacing = mean_squared_distance(means).clamp_min(1e-7).sqrt()
        quats = means.new_zeros(n, 4)
        quats[:, 0] = 1
        return cls(
            means=means,
            log_scales=spacing.log()[:, None].repeat(1, 3),
            quats=quats,
            opacity_logits=means.new_full((n, 1), math.log(INITIAL_OPACITY / (1 - INITIAL_OPACITY))),
            sh_dc=((colors - 0.5) / SH_C0)[:, None],
            sh_rest=means.new_zeros(n, num_sh_rest(sh_degree), 3),
            active_sh_degree=0,
        )
