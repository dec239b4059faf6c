"""What benchmarks/gpu_rasterizer.py renders, with our rasterizer and with gsplat's release where it is installed."""

from dataclasses import dataclass
from pathlib import Path

import diff_gaussian_rasterization as dgr
import torch
from torch import Tensor

try:
    import gsplat
except ImportError:
    gsplat = None

WIDTH, HEIGHT, COUNT = 1440, 1080, 1_000_000


@dataclass(frozen=True)
class Scene:
    """Gaussians in front of a camera, on one device."""

    view: dgr.View
    geometry: dict[str, Tensor]  # means, scales, rotations, opacities

    @classmethod
    def random(cls, count: int, width: int, height: int, device: str) -> "Scene":
        """A cloud of mostly small Gaussians around the view; opacities below 0.98, so that alpha is never clamped."""
        generator = torch.Generator().manual_seed(0)
        means = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([16.0, 12.0, 10.0]) + torch.tensor([0, 0, 7.0])
        sizes = 0.012 * torch.exp(
            0.8 * torch.randn(count, 1, generator=generator) + 0.4 * torch.randn(count, 3, generator=generator)
        )
        geometry = {
            "means": means,
            "scales": sizes,
            "rotations": torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1),
            "opacities": 0.98 * torch.rand(count, generator=generator) ** 1.5 + 0.005,
        }
        view = dgr.View(torch.eye(4), 1100.0 * width / 1440, 1100.0 * width / 1440, width / 2, height / 2, width, height)
        return cls(view, {name: tensor.to(device) for name, tensor in geometry.items()})

    @classmethod
    def trained(cls, model: Path, device: str) -> "Scene":
        """The Gaussians that `train.py` left in a model folder, from the first held-out camera, or else training camera."""
        from gaussian_renderer import view_of
        from gaussian_renderer.trained_model import load_trained
        from workspace import ModelFolder

        trained = load_trained(ModelFolder(model))
        scene, gaussians = trained.scene(), trained.gaussians
        camera = (scene.test or scene.train)[0]
        view = view_of(camera.resized(WIDTH, round(WIDTH * camera.height / camera.width)))
        parts = {name: getattr(gaussians, name) for name in ("means", "scales", "rotations", "opacities")}
        return cls(view, {name: tensor.detach().contiguous().to(device) for name, tensor in parts.items()})

    def to(self, device: str) -> "Scene":
        """The same on another device."""
        return Scene(self.view, {name: tensor.to(device) for name, tensor in self.geometry.items()})

    def requiring_grad(self) -> "Scene":
        """A copy whose geometry requires gradients."""
        return Scene(self.view, {name: tensor.detach().clone().requires_grad_() for name, tensor in self.geometry.items()})


def ours(scene: Scene, features: Tensor) -> Tensor:
    """Image [D, H, W]."""
    return dgr.rasterize(scene.view, **scene.geometry, features=features).image


class Peer:
    """gsplat with our near plane and blur. Its camera is copied to the device here, outside of what is timed."""

    def __init__(self, view: dgr.View):
        self.size = view.width, view.height
        self.pose = view.world_to_camera.cuda()[None]
        self.intrinsics = torch.tensor([[view.fx, 0, view.cx], [0, view.fy, view.cy], [0, 0, 1]], device="cuda")[None]

    def __call__(self, scene: Scene, features: Tensor) -> Tensor:
        """Image [H, W, D]."""
        g = scene.geometry
        image, _, _ = gsplat.rasterization(
            g["means"], g["rotations"], g["scales"], g["opacities"], features, self.pose, self.intrinsics, *self.size,
            near_plane=0.2, eps2d=0.3, packed=False,
        )  # fmt: skip
        return image[0]


def peer_of(view: dgr.View) -> Peer | None:
    """The peer for this view, where there is one."""
    return Peer(view) if gsplat else None


def find_peer(wanted: bool) -> str:
    """gsplat's version, or the reason for its empty columns. The first use of its release compiles its kernels for minutes."""
    global gsplat  # noqa: PLW0603 - what cannot run is not there
    if gsplat is None:
        return "not installed"
    if not wanted:
        gsplat = None
        return "left out"
    try:
        with torch.no_grad():
            scene = Scene.random(1000, 64, 48, "cuda")
            Peer(scene.view)(scene, torch.rand(1000, 9, device="cuda"))
    except (RuntimeError, ImportError, OSError, AttributeError, TypeError) as error:
        gsplat = None
        return f"does not run here: {str(error).strip().splitlines()[-1]}"
    return gsplat.__version__
