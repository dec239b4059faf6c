"""Wrong input is refused by name, with what was found and what was expected; another package of the name is noticed."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cuda_scenes import make_gaussians, make_view, with_covariances
from diff_gaussian_rasterization import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    View,
    evaluate_sh,
    installation,
    prepare,
    rasterize,
)
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

N = 10


def arguments(**changes):
    g = make_gaussians(N)
    return {**g, "features": torch.rand(N, 3), **changes}


def spoiled(shape, index, value):
    tensor = torch.zeros(shape)
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"means": torch.zeros(N, 2)}, ValueError, r"means must have shape \[n, 3\], found \[10, 2\]"),
        ({"scales": torch.zeros(N + 1, 3)}, ValueError, r"scales must have shape \[10, 3\], found \[11, 3\]"),
        ({"rotations": torch.zeros(N, 3)}, ValueError, r"rotations must have shape \[10, 4\]"),
        ({"opacities": torch.zeros(N, 1)}, ValueError, r"opacities must have shape \[10\], found \[10, 1\]"),
        ({"features": torch.zeros(N)}, ValueError, r"features must have shape \[10, D\]"),
        ({"features": torch.zeros(N, 0)}, ValueError, "at least one channel"),
        ({"background": torch.zeros(2)}, ValueError, r"background must have shape \[3\]"),
        ({"means2d": torch.zeros(N, 4)}, ValueError, r"means2d must have shape \[10, 2\]"),
        ({"means": torch.zeros(N, 3, dtype=torch.float16)}, TypeError, "means must be float32"),
        ({"scales": torch.zeros(N, 3, dtype=torch.float64)}, TypeError, "scales must be torch.float32 like means"),
        ({"features": torch.zeros(N, 3, dtype=torch.int64)}, TypeError, "features must be torch.float32"),
        ({"opacities": torch.zeros(N, device="meta")}, ValueError, "opacities must be on cpu like means, found meta"),
        ({"opacities": [0.5] * N}, TypeError, "opacities must be a tensor, found list"),
        ({"scales": None}, ValueError, "scales is missing"),
        ({"covariances": torch.zeros(N, 6)}, ValueError, "both scales/rotations and covariances"),
        ({"means": spoiled((N, 3), (4, 1), math.nan)}, ValueError, r"means holds nan at index \[4, 1\]"),
        ({"scales": spoiled((N, 3), (2, 0), math.inf)}, ValueError, r"scales holds inf at index \[2, 0\]"),
        ({"means": torch.zeros(N, 3).to_sparse()}, TypeError, "means must be a dense tensor"),
        ({"scale_modifier": math.nan}, ValueError, "scale_modifier must be finite and not negative, found nan"),
        ({"scale_modifier": math.inf}, ValueError, "scale_modifier must be finite"),
        ({"scale_modifier": -1.0}, ValueError, "scale_modifier must be finite and not negative, found -1"),
        ({"scale_modifier": "1"}, TypeError, "scale_modifier must be a number, found str"),
        ({"features": spoiled((N, 3), (9, 2), -math.inf)}, ValueError, r"features holds -inf at index \[9, 2\]"),
    ],
)
def test_rasterize_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        rasterize(make_view(), **arguments(**changes))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["means", "scales", "rotations", "opacities", "covariances"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_parameter_is_named_wherever_its_gaussian_is(name, value, threads, instruction_set):
    """Projection tests thousands of Gaussians at a time and reads all of them only where they may be visible; here none is."""
    g = make_gaussians(9000)
    g |= {"scales": None, "rotations": None, **with_covariances(g)} if name == "covariances" else {}
    g["means"][:, 2] = -5.0
    g[name].reshape(9000, -1)[8997, -1] = value
    features, before = torch.rand(9000, 2), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for call in (lambda: prepare(make_view(), **g), lambda: rasterize(make_view(), **g, features=features)):
            with pytest.raises(ValueError, match=rf"{name} holds {value} at index \[8997"):
                call()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world_to_camera": torch.eye(3)}, r"world_to_camera must be a tensor of shape \[4, 4\]"),
        ({"world_to_camera": torch.full((4, 4), math.nan)}, "not finite"),
        ({"world_to_camera": 2 * torch.eye(4)}, "must be a rotation and a translation"),
        ({"world_to_camera": torch.diag(torch.tensor([2.0, 2, 2, 1]))}, "A scaled pose has to be divided by its scale"),
        ({"world_to_camera": torch.diag(torch.tensor([-1.0, 1, 1, 1]))}, "must be a rotation"),
        ({"world_to_camera": torch.eye(4) + spoiled((4, 4), (0, 1), 0.1)}, "must be a rotation"),
        ({"fx": 0.0}, "must be positive"),
        ({"fy": math.inf}, "not finite"),
        ({"width": 0}, "width must be an integer from 1"),
        ({"height": 10**6}, "height must be an integer from 1"),
        ({"height": 3.5}, "height must be an integer"),
    ],
)
def test_views_are_checked(changes, message):
    fields = {"world_to_camera": torch.eye(4), "fx": 30.0, "fy": 30.0, "cx": 8.0, "cy": 8.0, "width": 16, "height": 16}
    with pytest.raises(ValueError, match=message):
        rasterize(View(**{**fields, **changes}), **arguments())


def test_prepared_views_refuse():
    g = make_gaussians(N)
    prepared = prepare(make_view(), g["means"], g["scales"], g["rotations"], g["opacities"])
    with pytest.raises(ValueError, match=r"features must have shape \[10, D\], found \[9, 3\]"):
        prepared.rasterize(torch.zeros(9, 3))
    with pytest.raises(ValueError, match=r"features holds nan at index \[0, 0\]"):
        prepared.rasterize(torch.full((N, 3), math.nan))
    with pytest.raises(TypeError, match="features must be torch.float32"):
        prepared.rasterize(torch.zeros(N, 3, dtype=torch.float64))


def test_prepared_views_compare_by_identity():
    g = make_gaussians(N)
    first, second = (prepare(make_view(), g["means"], g["scales"], g["rotations"], g["opacities"]) for _ in range(2))
    assert first == first and first != second and len({first, second}) == 2


def test_the_classes_refuse_what_is_no_tensor():
    g = make_gaussians(N)
    camera = torch.eye(4)
    settings = GaussianRasterizationSettings(
        16, 16, 0.5, 0.5, torch.zeros(3), 1.0, camera, camera, 0, torch.zeros(3), False, False
    )
    arguments = {"means3D": g["means"], "means2D": None, "opacities": g["opacities"], "colors_precomp": torch.rand(N, 3)}
    arguments |= {"scales": g["scales"], "rotations": g["rotations"]}
    for name in ("means3D", "opacities", "colors_precomp", "scales", "means2D"):
        with pytest.raises((TypeError, ValueError), match="must be a tensor, found str"):
            GaussianRasterizer(settings)(**{**arguments, name: "text"})
    with pytest.raises((TypeError, ValueError), match="bg must be a tensor"):
        GaussianRasterizer(settings._replace(bg=None))(**arguments)


def test_evaluate_sh_refuses():
    means, center = torch.zeros(N, 3), torch.zeros(3)
    with pytest.raises(ValueError, match="must be 0, 1, 2 or 3, found 4"):
        evaluate_sh(4, means, center, torch.zeros(N, 25, 3))
    with pytest.raises(ValueError, match=r"degree 3 needs 16 coefficients per Gaussian, found sh_coeffs of shape \[10, 9, 3\]"):
        evaluate_sh(3, means, center, torch.zeros(N, 9, 3))
    with pytest.raises(ValueError, match="camera_center holds a value that is not finite"):
        evaluate_sh(0, means, torch.tensor([0, torch.nan, 0]), torch.zeros(N, 1, 3))


def test_tensors_that_are_not_contiguous_work():
    changed = arguments()
    expected = rasterize(make_view(), **changed)
    strided = {k: torch.stack([v, v], -1)[..., 0] for k, v in changed.items()}
    assert not strided["means"].is_contiguous()
    assert torch.equal(rasterize(make_view(), **strided).image, expected.image)


def test_another_package_of_the_name_is_noticed(tmp_path: Path, monkeypatch):
    foreign = tmp_path / "diff_gaussian_rasterization"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("class GaussianRasterizer: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="another package of the same name is installed at .*pip uninstall"):
        installation.require_this_package()


def test_a_folder_with_the_compiled_module_alone_is_no_other_package(tmp_path: Path, monkeypatch):
    """`pip install -e` puts the compiled module into site-packages and leaves the rest where it is."""
    (tmp_path / "diff_gaussian_rasterization").mkdir()
    (tmp_path / "diff_gaussian_rasterization" / "_C.so").touch()
    (tmp_path / "diff_gaussian_rasterization-1.0.0.dist-info").mkdir()
    (tmp_path / "diff_gaussian_rasterization-1.0.0.dist-info" / "METADATA").write_text("Name: diff-gaussian-rasterization\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installation.other_copies(Path(installation.__file__).resolve().parent) == []


def test_second_derivatives_and_forward_mode_are_refused():
    """Both would otherwise give a result without the term, in silence."""
    features = torch.rand(N, 3, requires_grad=True)
    for render in (
        lambda f: rasterize(make_view(), **arguments(features=f)).image,
        lambda f: prepare(make_view(), **make_gaussians(N)).rasterize(f).image,
    ):
        image = render(features)
        (gradient,) = torch.autograd.grad(image.square().sum(), features, create_graph=True)
        with pytest.raises(NotImplementedError, match="first derivatives only"):
            gradient.square().sum().backward()
        torch.testing.assert_close(gradient, torch.autograd.grad(image.square().sum(), features)[0], rtol=0, atol=0)
        with pytest.raises(NotImplementedError, match="first derivatives only"):
            torch.autograd.functional.hvp(lambda f, show=render: show(f).square().sum(), torch.rand(N, 3), torch.ones(N, 3))
        with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="features has a tangent"):
            render(forward_ad.make_dual(torch.rand(N, 3), torch.ones(N, 3)))


@pytest.mark.parametrize("name", ["means", "scales", "rotations", "opacities"])
def test_a_penalty_on_a_gradient_is_refused(name):
    """The image is linear in the features, its gradients with respect to the geometry are not constant."""
    inputs = arguments(**{name: arguments()[name].requires_grad_()})
    (gradient,) = torch.autograd.grad(rasterize(make_view(), **inputs).image.mean(), inputs[name], create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        gradient.square().sum().backward()
    colors = evaluate_sh(2, means := torch.rand(N, 3, requires_grad=True), torch.zeros(3), torch.rand(N, 9, 3))
    (gradient,) = torch.autograd.grad(colors.sum(), means, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_graph_of_gradients_that_is_not_used_is_no_error(checkpointed):
    inputs = arguments()
    leaf = inputs["means"].requires_grad_()

    def draw(means):
        return rasterize(make_view(), **inputs | {"means": means}).image

    image = checkpoint(draw, leaf, use_reentrant=False) if checkpointed else draw(leaf)
    (gradient,) = torch.autograd.grad(image.square().sum(), leaf, create_graph=True)
    gradient = gradient.mul_(2)  # as clipping does
    expected = torch.autograd.grad(draw(leaf).square().sum(), leaf)[0]
    assert torch.equal(gradient, 2 * expected)


def test_a_lazy_negation_is_not_read_past():
    turned = torch._neg_view(torch.rand(N, 3))
    with pytest.raises(TypeError, match=r"features is a view whose sign .* features.resolve_neg\(\)"):
        rasterize(make_view(), **arguments(features=turned))
    features = torch.rand(N, 3, requires_grad=True)
    image, gradient = rasterize(make_view(), **arguments(features=features)).image, torch.rand(3, 37, 40)
    expected = torch.autograd.grad(image, features, -gradient, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(image, features, torch._neg_view(gradient))[0], expected)


def test_an_unknown_instruction_set_is_named():
    """A typing error in a comparison of instruction sets would otherwise compare the fastest with itself."""
    code = "from diff_gaussian_rasterization import _C; print(_C.instruction_set())"
    for name, expected in (
        ("foo", "DIFF_GAUSSIAN_RASTERIZATION_ISA is foo; this build has on this processor:"),
        ("scalar", "scalar"),
    ):
        environment = os.environ | {"DIFF_GAUSSIAN_RASTERIZATION_ISA": name}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        assert expected in done.stdout + done.stderr
