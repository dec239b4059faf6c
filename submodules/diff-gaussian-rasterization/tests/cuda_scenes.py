"""Views and Gaussians for the tests of the CUDA backend, on the host or on a GPU."""

import torch
from diff_gaussian_rasterization import View, reference


def make_view(width=40, height=37):
    world_to_camera = torch.eye(4)
    world_to_camera[:3, :3] = torch.linalg.qr(torch.eye(3) + 0.1 * torch.tensor([[0, 1, 2], [-1, 0, 1.0], [0, -2, 0]]))[0]
    world_to_camera[:3, :3] *= world_to_camera[:3, :3].diagonal().sign()[:, None]
    world_to_camera[:3, 3] = torch.tensor([0.1, -0.05, 0.2])
    return View(world_to_camera, 0.9 * width, 0.85 * width, width / 2 + 1.3, height / 2 - 0.7, width, height)


def make_gaussians(n, seed=0, scale=0.1):
    generator = torch.Generator().manual_seed(seed)
    return {
        "means": torch.randn(n, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.6]) + torch.tensor([0, 0, 3.0]),
        "scales": scale * torch.exp(0.7 * torch.randn(n, 3, generator=generator)),
        "rotations": torch.randn(n, 4, generator=generator),
        "opacities": torch.rand(n, generator=generator),
    }


def with_covariances(gaussians):
    matrices = reference.covariance_matrices(gaussians["scales"], gaussians["rotations"])
    upper = matrices.flatten(1)[:, [0, 1, 2, 4, 5, 8]].contiguous()
    return {"means": gaussians["means"], "covariances": upper, "opacities": gaussians["opacities"]}


def edge_scenes():
    """(view, Gaussians) by name: inputs that have broken rasterizers."""
    edges = make_gaussians(300, scale=0.05)
    edges["opacities"][:60] = 0
    edges["opacities"][60:200] = 1
    edges["rotations"][:100:3] = 0
    edges["scales"][100:120] = 30.0  # over everything
    edges["opacities"][100:120] = 0.9  # two clamped alphas leave (1 - 0.99)^2, which rounds to either side of the limit
    edges["scales"][120:160] = torch.tensor([1e-6, 1e-6, 0.8])  # needles
    edges["scales"][160:180] = 0
    edges["means"][180:200, 2] = torch.linspace(-0.01, 0.03, 20)  # about the near plane

    crowd = make_gaussians(3000, scale=0.004)
    crowd["means"][:, :2] *= 0.15
    crowd["opacities"] *= 0.1

    culled = make_gaussians(40)
    culled["means"][:, 2] *= -1

    tall = make_gaussians(6, scale=1.0)
    tall["scales"][:3] = 40.0
    tall["opacities"][:] = 0.3
    return {
        "edges of the parameters": (make_view(), edges),
        "thousands on one tile": (make_view(24, 24), crowd),
        "everything culled": (make_view(), culled),
        "more rows of tiles than a warp has lanes": (make_view(20, 16 * 34), tall),
    }
