"""The published classes, called the way 3DGS and LangSplat training code calls them."""

import math

import pytest
import torch
from cuda_scenes import make_gaussians, make_view
from diff_gaussian_rasterization import GaussianRasterizationSettings, GaussianRasterizer, View, reference

WIDTH, HEIGHT = 40, 37


def transposed_matrices(view):
    """viewmatrix and projmatrix in the row-vector convention, principal point included."""
    near, far = 0.01, 100.0
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[1, 1] = 2 * view.fx / view.width, 2 * view.fy / view.height
    projection[0, 2], projection[1, 2] = 2 * view.cx / view.width - 1, 2 * view.cy / view.height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = far / (far - near), -far * near / (far - near), 1
    viewmatrix = view.world_to_camera.T
    return viewmatrix, viewmatrix @ projection.T


def settings(view=None, **changes):
    view = view or make_view(WIDTH, HEIGHT)
    viewmatrix, projmatrix = transposed_matrices(view)
    fields = {
        "image_height": view.height,
        "image_width": view.width,
        "tanfovx": view.width / (2 * view.fx),
        "tanfovy": view.height / (2 * view.fy),
        "bg": torch.tensor([0.1, 0.2, 0.3]),
        "scale_modifier": 1.0,
        "viewmatrix": viewmatrix,
        "projmatrix": projmatrix,
        "sh_degree": 2,
        "campos": torch.linalg.inv(view.world_to_camera)[:3, 3],
        "prefiltered": False,
        "debug": False,
    }
    return GaussianRasterizationSettings(**{**fields, **changes})


def geometry(n=90, requires_grad=True):
    g = make_gaussians(n)
    out = {"means3D": g["means"], "opacities": g["opacities"][:, None], "scales": g["scales"], "rotations": g["rotations"]}
    return {k: v.clone().requires_grad_(requires_grad) for k, v in out.items()}


def test_rgb_form_with_spherical_harmonics():
    inputs, shs = geometry(), torch.randn(90, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    screen = torch.zeros(90, 3, requires_grad=True)
    color, radii = GaussianRasterizer(raster_settings=settings())(means2D=screen, shs=shs, **inputs)
    assert color.shape == (3, HEIGHT, WIDTH) and radii.dtype == torch.int32 and radii.shape == (90,)
    color.square().sum().backward()

    view = make_view(WIDTH, HEIGHT)
    leaves = [inputs[k].detach().double().requires_grad_() for k in ("means3D", "scales", "rotations", "opacities")]
    shs64, screen64 = shs.detach().double().requires_grad_(), torch.zeros(90, 3, dtype=torch.float64, requires_grad=True)
    colors = reference.evaluate_sh(2, leaves[0], settings().campos.double(), shs64)
    bg = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    out = reference.rasterize(view, *leaves[:3], leaves[3][:, 0], colors, background=bg, means2d=screen64)
    out.image.square().sum().backward()
    assert (color - out.image).abs().max() < 1e-4  # float32 blending; the matrices went through an inversion
    pairs = [(inputs[k].grad, t.grad) for k, t in zip(("means3D", "scales", "rotations", "opacities"), leaves, strict=True)]
    for a, b in [*pairs, (shs.grad, shs64.grad), (screen.grad, screen64.grad)]:
        assert (a - b).norm() < 1e-3 * b.norm()


def test_language_form():
    inputs, colors = geometry(), torch.rand(90, 3)
    language = torch.randn(90, 5, requires_grad=True)
    rasterizer = GaussianRasterizer(raster_settings=settings(include_feature=True))
    color, feature, radii = rasterizer(means2D=None, colors_precomp=colors, language_feature_precomp=language, **inputs)
    plain, plain_radii = GaussianRasterizer(settings())(means2D=None, colors_precomp=colors, **inputs)
    assert torch.equal(radii, plain_radii)
    torch.testing.assert_close(color, plain, rtol=0, atol=1e-6)
    view = make_view(WIDTH, HEIGHT)
    arguments = [inputs[k] for k in ("means3D", "scales", "rotations")]
    expected = reference.rasterize(view, *arguments, inputs["opacities"][:, 0], language.detach())
    assert (feature - expected.image).abs().max() < 1e-4  # no background behind language features
    feature.sum().backward()
    assert language.grad.abs().sum() > 0 and inputs["means3D"].grad is not None


def test_language_form_without_features_takes_langsplats_placeholder():
    rasterizer = GaussianRasterizer(raster_settings=settings(include_feature=False))
    color, feature, radii = rasterizer(
        means2D=None, colors_precomp=torch.rand(90, 3), language_feature_precomp=torch.zeros(1), **geometry()
    )
    assert color.shape == (3, HEIGHT, WIDTH) and feature.shape == (0, HEIGHT, WIDTH) and radii.shape == (90,)


def test_precomputed_covariances_and_empty_placeholders():
    inputs = geometry(requires_grad=False)
    matrices = reference.covariance_matrices(inputs["scales"], inputs["rotations"])
    upper = matrices.flatten(1)[:, [0, 1, 2, 4, 5, 8]].contiguous().requires_grad_()
    nothing = torch.Tensor([])
    call = GaussianRasterizer(settings())
    color, _ = call(
        means3D=inputs["means3D"],
        means2D=None,
        opacities=inputs["opacities"],
        shs=nothing,
        colors_precomp=torch.rand(90, 3, generator=torch.Generator().manual_seed(1)),
        scales=nothing,
        rotations=nothing,
        cov3D_precomp=upper,
    )
    expected, _ = call(means2D=None, colors_precomp=torch.rand(90, 3, generator=torch.Generator().manual_seed(1)), **inputs)
    assert (color - expected).abs().max() < 1e-4
    color.sum().backward()
    assert upper.grad.abs().sum() > 0


def test_principal_point_comes_from_the_projection_matrix():
    centred, shifted = make_view(WIDTH, HEIGHT), None
    shifted = View(centred.world_to_camera, centred.fx, centred.fy, centred.cx + 3, centred.cy - 2, WIDTH, HEIGHT)
    found = settings(shifted).view()
    assert (found.cx, found.cy) == pytest.approx((shifted.cx, shifted.cy), abs=1e-4)
    assert (found.fx, found.fy) == pytest.approx((shifted.fx, shifted.fy), rel=1e-6)


def test_mark_visible():
    view = View(torch.eye(4), 30.0, 30.0, 20.0, 18.0, WIDTH, HEIGHT)
    points = torch.tensor([[0, 0, 1.0], [0, 0, 0.2], [0, 0, -1.0], [5.0, 0, 0.21]])
    assert GaussianRasterizer(settings(view)).markVisible(points).tolist() == [True, False, False, True]


def test_autocast_rounds_nothing():
    rasterizer = GaussianRasterizer(settings(antialiasing=False))
    inputs, colors = geometry(requires_grad=False), torch.rand(90, 3)
    points = torch.cat([torch.zeros(64, 2), torch.linspace(0.199, 0.201, 64)[:, None]], 1)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append((*rasterizer(means2D=None, colors_precomp=colors, **inputs), rasterizer.markVisible(points)))
    for plain, autocast in zip(*found, strict=True):
        assert torch.equal(plain, autocast)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shs": torch.zeros(90, 16, 3)}, "both"),
        ({"colors_precomp": None}, "neither"),
        ({"scales": None}, "scales is missing"),
        ({"cov3D_precomp": torch.zeros(90, 6)}, "both scales/rotations and covariances"),
        ({"colors_precomp": torch.full((90, 3), math.nan)}, r"colors_precomp holds nan at index \[0, 0\]"),
        ({"means2D": torch.zeros(80, 3)}, r"means2D must have shape \[90, 3\]"),
    ],
)
def test_wrong_calls(changes, message):
    call = {"means2D": None, "colors_precomp": torch.rand(90, 3), **geometry(), **changes}
    with pytest.raises(ValueError, match=message):
        GaussianRasterizer(settings())(**call)


def test_wrong_settings():
    call = {"means2D": None, "colors_precomp": torch.rand(90, 3), **geometry()}
    with pytest.raises(ValueError, match="projmatrix does not belong"):
        GaussianRasterizer(settings(tanfovx=1.7))(**call)
    with pytest.raises(ValueError, match="projmatrix does not belong"):
        GaussianRasterizer(settings(projmatrix=torch.eye(4)))(**call)
    with pytest.raises(ValueError, match="tanfovx and tanfovy must be positive, found None"):
        GaussianRasterizer(settings(tanfovx=None))(**call)
    with pytest.raises(TypeError, match="campos must be a tensor, found NoneType"):
        GaussianRasterizer(settings(campos=None))(**call | {"colors_precomp": None, "shs": torch.rand(90, 16, 3)})
    with pytest.raises(ValueError, match="language_feature_precomp is missing"):
        GaussianRasterizer(settings(include_feature=True))(**call)
    with pytest.raises(ValueError, match="viewmatrix is singular"):
        GaussianRasterizer(settings(viewmatrix=torch.zeros(4, 4)))(**call)


@pytest.mark.parametrize("antialiasing", [False, True])
def test_three_value_form_of_later_3dgs_code(antialiasing):
    """(color, radii, inverse depth): sums of w / z, with gradients of the weights and of z."""
    inputs, colors = geometry(), torch.rand(90, 3)
    rasterizer = GaussianRasterizer(settings(antialiasing=antialiasing))
    color, radii, inverse_depth = rasterizer(means2D=None, colors_precomp=colors, **inputs)
    assert color.shape == (3, HEIGHT, WIDTH) and inverse_depth.shape == (1, HEIGHT, WIDTH) and radii.dtype == torch.int32
    if not antialiasing:
        plain, plain_radii = GaussianRasterizer(settings())(means2D=None, colors_precomp=colors, **inputs)
        torch.testing.assert_close(color, plain, rtol=0, atol=1e-6)
        assert torch.equal(radii, plain_radii)
    inverse_depth.square().sum().backward()

    view = make_view(WIDTH, HEIGHT)
    leaves = [inputs[k].detach().double().requires_grad_() for k in ("means3D", "scales", "rotations", "opacities")]
    row = view.world_to_camera[2].double()
    depths = leaves[0] @ row[:3] + row[3]
    inverse = 1 / depths.clamp_min(0.2)[:, None]  # nothing nearer is drawn
    out = reference.rasterize(view, *leaves[:3], leaves[3][:, 0], inverse, antialiasing=antialiasing)
    assert (inverse_depth - out.image).abs().max() < 1e-5  # float32 blending of values up to 5
    out.image.square().sum().backward()
    for name, leaf in zip(("means3D", "scales", "rotations", "opacities"), leaves, strict=True):
        assert (inputs[name].grad - leaf.grad).norm() < 1e-3 * leaf.grad.norm()


@pytest.mark.parametrize("mode", [{}, {"include_feature": False}, {"include_feature": True}, {"antialiasing": False}])
def test_inputs_that_are_slices_give_the_same_picture_and_gradients(mode):
    """`codes[:, :3]` and an expanded background are ordinary user code; the compiled code reads dense rows."""
    inputs, codes = geometry(requires_grad=False), torch.rand(90, 5)
    features = {"language_feature_precomp": torch.rand(90, 8)[:, ::2]} if mode.get("include_feature") else {}
    background = torch.tensor([0.7]).expand(3)
    found = []
    for dense in (False, True):
        colors = (codes[:, :3].clone() if dense else codes[:, :3]).requires_grad_()
        assert colors.is_contiguous() == dense
        used = {name: value.contiguous() if dense else value for name, value in features.items()}
        bg = background.clone() if dense else background
        out = GaussianRasterizer(settings(bg=bg, **mode))(means2D=torch.zeros(90, 3), colors_precomp=colors, **inputs, **used)
        (gradient,) = torch.autograd.grad(out[0].square().sum(), colors)
        found.append((*out, gradient))
    for sliced, dense in zip(*found, strict=True):
        assert torch.equal(sliced, dense)
