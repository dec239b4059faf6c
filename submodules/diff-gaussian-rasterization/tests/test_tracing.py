"""torch's tracers: what they record gives the values that were computed."""

import pytest
import torch
from cuda_scenes import make_gaussians, make_view
from diff_gaussian_rasterization import prepare, rasterize
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

GEOMETRY = ("means", "scales", "rotations", "opacities")


@pytest.fixture
def draw():
    view, gaussians = make_view(), make_gaussians(50)
    return lambda features: rasterize(view, *[gaussians[k] for k in GEOMETRY], features).image


@pytest.mark.parametrize("trace", [torch.jit.trace, lambda function, given: make_fx(function)(given)], ids=["jit", "fx"])
def test_a_trace_holds_the_operator(draw, trace):
    features, others = torch.rand(50, 3), torch.rand(50, 3)
    traced = trace(draw, features)
    assert torch.equal(traced(others), draw(others))


def test_tensors_without_values_have_the_shapes_of_results(draw):
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()):
        assert draw(torch.empty(50, 4)).shape == (4, 37, 40)


def test_compiled_training_on_a_prepared_view():
    gaussians, features = make_gaussians(50), torch.rand(50, 3, requires_grad=True)
    view = prepare(make_view(), *[gaussians[k] for k in GEOMETRY])

    @torch.compile(backend="eager")  # what is recorded matters here, not the code that is generated from it
    def loss(values):
        return view.rasterize(values).image.square().sum()

    expected = None
    for _ in range(4):
        (gradient,) = torch.autograd.grad(loss(features), features)
        expected = gradient if expected is None else expected
        assert torch.equal(gradient, expected)
    assert view.kept_nbytes > 0
