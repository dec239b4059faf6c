"""`rasterize` on the CPU: closed forms, then the reference, then finite differences, then the edges of the inputs."""

import math

import pytest
import torch
from cuda_scenes import edge_scenes, make_gaussians, make_view, with_covariances
from diff_gaussian_rasterization import View, rasterize, reference

# float32 blending of up to thousands of terms against float64: a few hundred roundings of 6e-8, times depths of about 3.
IMAGE_TOLERANCE = 1e-4
# Relative to the norm of each gradient; the projection's derivatives lose a few digits on needles.
GRADIENT_TOLERANCE = 1e-3


def arguments(gaussians, dtype=torch.float32):
    """Positional geometry of `rasterize` and `reference.rasterize`."""
    return [
        None if gaussians.get(name) is None else gaussians[name].to(dtype)
        for name in ("means", "scales", "rotations", "opacities")
    ]


def run(function, view, gaussians, dtype, channels=3, background=True, **options):
    """Outputs and gradients of a loss that weighs every output pixel at random."""
    generator = torch.Generator().manual_seed(7)
    n = len(gaussians["means"])
    leaves = [None if t is None else t.clone().requires_grad_() for t in arguments(gaussians, dtype)]
    features = torch.rand(n, channels, generator=generator).to(dtype).requires_grad_()
    means2d = torch.zeros(n, 2, dtype=dtype, requires_grad=True)
    bg = torch.rand(channels, generator=generator).to(dtype).requires_grad_() if background else None
    covariances = gaussians.get("covariances")
    if covariances is not None:
        covariances = covariances.to(dtype).clone().requires_grad_()
    out = function(view, *leaves, features, background=bg, means2d=means2d, covariances=covariances, **options)
    weights = [torch.randn(o.shape, generator=generator).to(dtype) for o in out[:3]]
    sum((o * w).sum() for o, w in zip(out[:3], weights, strict=True)).backward()
    inputs = [*leaves, features, means2d, bg, covariances]
    return out, [None if t is None else t.grad for t in inputs]


def assert_agrees(view, gaussians, **options):
    out, grads = run(rasterize, view, gaussians, torch.float32, **options)
    expected, expected_grads = run(reference.rasterize, view, gaussians, torch.float64, **options)
    for name, a, b in zip(("image", "alpha", "depth"), out[:3], expected[:3], strict=True):
        assert torch.isfinite(a).all(), name
        assert (a - b).abs().max() < IMAGE_TOLERANCE * max(1, float(b.detach().abs().max())), name
    assert torch.equal(out.radii > 0, expected.radii > 0)
    assert (out.radii - expected.radii).abs().max() <= 1 if len(out.radii) else True  # ceil of a float32
    for a, b in zip(grads, expected_grads, strict=True):
        if b is None:
            assert a is None
            continue
        assert torch.isfinite(a).all()
        assert (a - b).norm() <= GRADIENT_TOLERANCE * b.norm() + 1e-6


def test_one_gaussian_at_one_pixel():
    # Seen from the front at depth 4 with focal length 8: standard deviation 0.5 * 8 / 4 = 1 px, variance 1 + 0.3 by blur.
    view = View(torch.eye(4), 8.0, 8.0, 2.5, 2.5, 5, 5)
    out = rasterize(
        view,
        torch.tensor([[0.0, 0.0, 4.0]]),
        torch.full((1, 3), 0.5),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([0.8]),
        torch.tensor([[0.25, 1.0]]),
        background=torch.tensor([1.0, 0.0]),
    )
    beside = 0.8 * math.exp(-0.5 / 1.3)
    expected = [(0.8, out.alpha[2, 2]), (beside, out.alpha[2, 3]), (0.8 * 0.25 + 0.2, out.image[0, 2, 2])]
    expected += [(beside, out.image[1, 2, 1]), (0.8 * 4, out.depth[2, 2])]
    for value, found in expected:
        assert float(found) == pytest.approx(value, abs=1e-6)  # a handful of float32 operations
    assert out.radii.tolist() == [math.ceil(3 * math.sqrt(1.3))]


def test_front_hides_back_whatever_the_order_of_the_rows():
    view = View(torch.eye(4), 10.0, 10.0, 4.5, 4.5, 9, 9)
    means = torch.tensor([[0, 0, 5.0], [0, 0, 3.0]])
    scales, rotations = torch.full((2, 3), 0.3), torch.tensor([[1.0, 0, 0, 0]] * 2)
    out = rasterize(view, means, scales, rotations, torch.tensor([0.5, 0.6]), torch.eye(2))
    assert out.image[:, 4, 4].tolist() == pytest.approx([0.4 * 0.5, 0.6], abs=1e-6)


def test_a_gaussian_touches_exactly_the_pixels_where_alpha_reaches_1_255():
    # Cut by alpha, not by a 3-sigma box or a tile: an opaque Gaussian of 4 px reaches 3.33 sigma, across tile borders.
    view = View(torch.eye(4), 40.0, 40.0, 24.3, 23.1, 48, 48)
    sigma2 = 4.0**2 + 0.3
    out = rasterize(
        view,
        torch.tensor([[0, 0, 4.0]]),
        torch.full((1, 3), 0.4),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.ones(1),
        torch.ones(1, 1),
    )
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    alpha = torch.exp(-((x - 24.3) ** 2 + (y - 23.1) ** 2) / (2 * sigma2))
    expected = torch.where(alpha >= 1 / 255, alpha.clamp(max=0.99), 0)
    torch.testing.assert_close(out.alpha, expected, atol=2e-6, rtol=0)


def test_alpha_at_the_centre_is_the_opacity():
    # Points 3 px apart: blurred to a variance of 0.3 px^2, none reaches the next one's pixel.
    view, opacities = View(torch.eye(4), 8.0, 8.0, 1.5, 0.5, 120, 1), torch.linspace(0.005, 0.989, 40)
    means = torch.stack([3 * torch.arange(40) / 2, torch.zeros(40), torch.full((40,), 4.0)], 1)
    rotations = torch.tensor([[1.0, 0, 0, 0]] * 40)
    out = rasterize(view, means, torch.full((40, 3), 1e-6), rotations, opacities, torch.ones(40, 1))
    # Through log2 and exp2 in float32, and the rounding of the centre in pixels.
    torch.testing.assert_close(out.alpha[0, 1::3], opacities, atol=0, rtol=2e-6)


def test_antialiasing_leaves_an_opaque_point_half_a_percent():
    # The factor sqrt(det / det with blur) of a point would be 0; its square is bounded by 2.5e-5, so alpha is 0.005.
    view = View(torch.eye(4), 8.0, 8.0, 2.5, 2.5, 5, 5)
    means, scales, rotations = torch.tensor([[0.0, 0.0, 4.0]]), torch.full((1, 3), 1e-6), torch.tensor([[1.0, 0, 0, 0]])
    out = rasterize(view, means, scales, rotations, torch.ones(1), torch.ones(1, 1), antialiasing=True)
    assert float(out.alpha[2, 2]) == pytest.approx(0.005, rel=1e-5)  # a float32 root of a rounded bound


@pytest.mark.parametrize("antialiasing", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 9, 16])
def test_agrees_with_the_reference(channels, antialiasing):
    gaussians = make_gaussians(150, seed=channels)
    assert_agrees(make_view(), gaussians, channels=channels, antialiasing=antialiasing, scale_modifier=1.2)


@pytest.mark.parametrize("channels", [64, 512])
def test_agrees_with_the_reference_with_many_channels(channels):
    assert_agrees(make_view(33, 18), make_gaussians(80), channels=channels)


@pytest.mark.parametrize("antialiasing", [False, True])
def test_agrees_with_the_reference_from_covariances(antialiasing):
    assert_agrees(make_view(), with_covariances(make_gaussians(120)), antialiasing=antialiasing)


@pytest.mark.parametrize("name", edge_scenes())
def test_edges_agree_with_the_reference(name):
    view, gaussians = edge_scenes()[name]
    assert_agrees(view, gaussians, channels=2)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 16), (17, 15), (3, 70)])
def test_image_sizes(width, height):
    assert_agrees(make_view(width, height), make_gaussians(60, scale=0.3))


def test_large_splats_across_many_rows_of_tiles():
    assert_agrees(make_view(24, 200), make_gaussians(30, scale=0.8))


def test_no_gaussians_show_the_background():
    out = rasterize(
        make_view(20, 9),
        torch.zeros(0, 3, requires_grad=True),
        torch.zeros(0, 3),
        torch.zeros(0, 4),
        torch.zeros(0),
        torch.zeros(0, 2),
        background=torch.tensor([0.25, 0.5]),
    )
    assert torch.equal(out.image, torch.tensor([0.25, 0.5])[:, None, None].expand(2, 9, 20))
    assert out.alpha.abs().max() == 0 and out.radii.shape == (0,)
    out.image.sum().backward()


def test_huge_values_do_no_harm():
    gaussians = make_gaussians(60)
    gaussians["means"][:20] *= 1e30
    gaussians["scales"][20:40] = 1e25
    gaussians["rotations"][:10] *= 1e18
    out, grads = run(rasterize, make_view(), gaussians, torch.float32)
    assert all(torch.isfinite(o).all() for o in out[:3])
    assert all(torch.isfinite(g).all() for g in grads if g is not None)


def test_float64_agrees_with_the_reference_to_rounding():
    gaussians = make_gaussians(100, seed=3)
    for options in ({}, {"antialiasing": True}):
        out, grads = run(rasterize, make_view(), gaussians, torch.float64, **options)
        expected, expected_grads = run(reference.rasterize, make_view(), gaussians, torch.float64, **options)
        for a, b in zip([*out[:3], *grads[:7]], [*expected[:3], *expected_grads[:7]], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)  # two orders of summation in float64


@pytest.mark.parametrize("source", ["scales", "covariances"])
def test_gradcheck(source):
    # Few, soft Gaussians, so that no finite difference crosses the cut at 1/255 (its steps are 1e-6).
    view = make_view(9, 7)
    gaussians = make_gaussians(5, seed=11, scale=0.5)
    gaussians["opacities"] = 0.3 + 0.4 * gaussians["opacities"]
    leaves = [t.requires_grad_() for t in arguments(gaussians, torch.float64)]
    features = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    background = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)

    if source == "covariances":
        covariances = with_covariances({k: v.double() for k, v in gaussians.items()})["covariances"].detach().requires_grad_()

        def function(means, opacities, features, background, covariances):
            out = rasterize(view, means, None, None, opacities, features, background=background, covariances=covariances)
            return out.image, out.alpha, out.depth

        inputs = (leaves[0], leaves[3], features, background, covariances)
    else:

        def function(means, scales, rotations, opacities, features, background):
            out = rasterize(view, means, scales, rotations, opacities, features, background=background, antialiasing=True)
            return out.image, out.alpha, out.depth

        inputs = (*leaves, features, background)
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_means2d_receives_the_gradient_in_normalised_device_units():
    # Moving the mean by d in x at depth z moves the projection by fx d / z pixels, and nothing else for a small, distant,
    # nearly isotropic Gaussian on the axis.
    view = View(torch.eye(4), 50.0, 50.0, 12.0, 8.0, 24, 16)
    means = torch.tensor([[0.0, 0.0, 5.0]], requires_grad=True)
    means2d = torch.zeros(1, 3, requires_grad=True)
    out = rasterize(
        view,
        means,
        torch.full((1, 3), 0.2),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([0.7]),
        torch.ones(1, 1),
        means2d=means2d,
    )
    (out.image[0] * torch.linspace(-1, 1, 24)).sum().backward()
    pixel_gradient = float(means.grad[0, 0]) * 5.0 / 50.0
    assert float(means2d.grad[0, 0]) == pytest.approx(pixel_gradient * 24 / 2, rel=1e-4)
    assert means2d.grad.shape == (1, 3) and float(means2d.grad[0, 2]) == 0


def test_only_wanted_gradients_are_computed():
    gaussians = make_gaussians(30)
    features = torch.rand(30, 4, requires_grad=True)
    rasterize(make_view(), *arguments(gaussians), features).image.sum().backward()
    assert features.grad is not None and all(t.grad is None for t in gaussians.values())
