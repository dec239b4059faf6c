"""The first Gaussians of a scene, and what identifies a geometry."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scene.gaussian_model import GaussianModel
from workspace import InputError


def test_gaussians_from_points_follow_the_published_start():
    xyz = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [50, 0, 0]], np.float32)
    rgb = np.array([[255, 0, 128], *[[10, 20, 30]] * 4], np.uint8)
    gaussians = GaussianModel.from_points(xyz, rgb)
    # nearest three of the first point: squared distances 1, 4, 9
    torch.testing.assert_close(gaussians.scales[0], torch.full((3,), (14 / 3) ** 0.5))
    torch.testing.assert_close(gaussians.opacities, torch.full((5,), 0.1))
    torch.testing.assert_close(gaussians.rotations, torch.tensor([[1.0, 0, 0, 0]]).repeat(5, 1))
    torch.testing.assert_close(gaussians.sh_dc[0, 0] * 0.28209479177387814 + 0.5, torch.tensor([1.0, 0.0, 128 / 255]))
    assert gaussians.sh_coeffs.shape == (5, 16, 3) and gaussians.sh_rest.abs().max() == 0
    assert (gaussians.active_sh_degree, gaussians.max_sh_degree) == (0, 3)


def test_points_in_one_place_do_not_become_infinitely_small():
    gaussians = GaussianModel.from_points(np.zeros((4, 3), np.float32), np.zeros((4, 3), np.uint8))
    torch.testing.assert_close(gaussians.scales, torch.full((4, 3), 1e-7**0.5))


@pytest.mark.parametrize("points", [np.zeros((3, 3), np.float32), np.full((4, 3), np.nan, np.float32)])
def test_points_that_cannot_start_a_scene(points):
    with pytest.raises(InputError, match="points"):
        GaussianModel.from_points(points, np.zeros((len(points), 3), np.uint8))


def test_geometry_hash_sees_geometry_only():
    gaussians = GaussianModel.from_points(np.eye(4, 3, dtype=np.float32), np.zeros((4, 3), np.uint8))
    assert replace(gaussians, sh_dc=gaussians.sh_dc + 1).geometry_hash() == gaussians.geometry_hash()
    for name in ("means", "log_scales", "quats", "opacity_logits"):
        changed = getattr(gaussians, name).clone()
        changed[0, 0] += 1e-3
        assert replace(gaussians, **{name: changed}).geometry_hash() != gaussians.geometry_hash()


def test_active_degree_without_coefficients_is_refused():
    gaussians = GaussianModel.from_points(np.eye(4, 3, dtype=np.float32), np.zeros((4, 3), np.uint8), sh_degree=1)
    with pytest.raises(ValueError, match="active SH degree"):
        replace(gaussians, active_sh_degree=2)
