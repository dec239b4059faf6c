"""Spherical harmonics: the basis is orthonormal, values and gradients are the reference's, clamping stops gradients."""

import math

import pytest
import torch
from diff_gaussian_rasterization import evaluate_sh, reference


def inputs(degree, n=50, dtype=torch.float32, stored=16):
    generator = torch.Generator().manual_seed(degree)
    means = torch.randn(n, 3, generator=generator).to(dtype).requires_grad_()
    coefficients = torch.randn(n, stored, 3, generator=generator).to(dtype).requires_grad_()
    return means, torch.tensor([0.3, -0.2, -4.0], dtype=dtype), coefficients


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_agrees_with_the_reference(degree):
    means, center, coefficients = inputs(degree)
    colors = evaluate_sh(degree, means, center, coefficients)
    grads = torch.autograd.grad(colors.square().sum(), (means, coefficients))
    means64, coefficients64 = means.detach().double().requires_grad_(), coefficients.detach().double().requires_grad_()
    expected = reference.evaluate_sh(degree, means64, center.double(), coefficients64)
    torch.testing.assert_close(colors.double(), expected, atol=2e-6, rtol=2e-6)  # sums of 16 float32 products
    for a, b in zip(
        grads, torch.autograd.grad(expected.square().sum(), (means64, coefficients64), allow_unused=True), strict=True
    ):
        b = torch.zeros_like(a).double() if b is None else b
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


def test_gradcheck():
    means, center, coefficients = inputs(3, n=4, dtype=torch.float64)
    coefficients = (0.1 * coefficients).detach().requires_grad_()  # nothing near the clamp
    assert torch.autograd.gradcheck(lambda m, c: evaluate_sh(3, m, center, c), (means, coefficients))


def test_basis_is_orthonormal_on_the_sphere():
    # Row k sees only coefficient k: colours - 0.5 are the basis functions at the directions.
    n = 20_000
    index = torch.arange(n, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * index / n, math.pi * (1 + 5**0.5) * index  # Fibonacci points
    directions = torch.stack([(1 - z * z).sqrt() * angle.cos(), (1 - z * z).sqrt() * angle.sin(), z], 1)
    basis = []
    for k in range(0, 16):
        coefficients = torch.zeros(n, 16, 3, dtype=torch.float64)
        coefficients[:, k] = 0.1
        basis.append((evaluate_sh(3, directions, torch.zeros(3), coefficients)[:, 0] - 0.5) / 0.1)
    gram = torch.stack(basis) @ torch.stack(basis).T * (4 * math.pi / n)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=2e-3, rtol=0)  # error of the point set


def test_gradient_is_zero_where_clamped():
    coefficients = torch.tensor([[[-10.0, 1.0, -10.0]]], requires_grad=True)
    colors = evaluate_sh(0, torch.ones(1, 3), torch.zeros(3), coefficients)
    colors.sum().backward()
    assert colors[0, 0] == 0 and colors[0, 2] == 0
    assert coefficients.grad[0, 0].tolist() == pytest.approx([0, 0.28209479177387814, 0])


def test_mean_at_the_camera():
    colors = evaluate_sh(3, torch.zeros(1, 3, requires_grad=True), torch.zeros(3), torch.ones(1, 16, 3))
    colors.sum().backward()
    assert torch.isfinite(colors).all()
