"""Operators as torch sees them; threads and instruction sets as the results should not see them."""

import pytest
import torch
from cuda_scenes import make_gaussians, make_view
from diff_gaussian_rasterization import _C, evaluate_sh, rasterize
from diff_gaussian_rasterization.harmonics import evaluate_sh_op
from diff_gaussian_rasterization.prepared_ops import blend_op, prepare_op
from diff_gaussian_rasterization.rasterize_ops import RasterizeInputs, rasterize_op


def results(view, gaussians, channels):
    leaves = [gaussians[k].clone().requires_grad_() for k in ("means", "scales", "rotations", "opacities")]
    generator = torch.Generator().manual_seed(5)
    features = torch.rand(len(leaves[0]), channels, generator=generator).requires_grad_()
    background = torch.rand(channels, generator=generator).requires_grad_()
    out = rasterize(view, *leaves, features, background=background)
    weights = torch.randn(out.image.shape, generator=generator)
    ((out.image * weights).sum() + out.depth.square().sum() + out.alpha.sin().sum()).backward()
    return [*out, *(t.grad for t in (*leaves, features, background))]


@pytest.mark.parametrize("channels", [3, 9, 27])
def test_same_bits_for_any_number_of_threads(channels, instruction_set):
    view, gaussians = make_view(150, 100), make_gaussians(6000, scale=0.03)
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            runs.append(results(view, gaussians, channels))
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("channels", [5, 9, 19])
def test_instruction_sets_agree_with_scalar_code(channels, instruction_set):
    view, gaussians = make_view(), make_gaussians(500, scale=0.05)
    found = results(view, gaussians, channels)
    _C.use_instruction_set("scalar")
    for a, b in zip(found, results(view, gaussians, channels), strict=True):
        # exp2 is a polynomial on one side (1e-7) and libm's on the other.
        assert (a.double() - b.double()).norm() <= 2e-5 * b.double().norm()


def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="this processor or this build has no avx1024"):
        _C.use_instruction_set("avx1024")


def arguments(dtype=torch.float32, n=12):
    gaussians = make_gaussians(n, scale=0.3)
    geometry = [gaussians[k].to(dtype).requires_grad_() for k in ("means", "scales", "rotations", "opacities")]
    view = make_view(18, 20)
    return view.values(), view.width, view.height, geometry


def test_opcheck_rasterize():
    view, width, height, (means, scales, rotations, opacities) = arguments()
    features, means2d = torch.rand(12, 4, requires_grad=True), torch.zeros(12, 3, requires_grad=True)
    background = torch.rand(4, requires_grad=True)
    inputs = (view, width, height, means, scales, rotations, None, opacities, features, means2d, background, 1.0, True, True)
    torch.library.opcheck(rasterize_op.op, inputs)


def test_opcheck_prepare_and_blend():
    view, width, height, geometry = arguments()
    means, scales, rotations, opacities = (t.detach() for t in geometry)
    inputs = (view, width, height, means, scales, rotations, None, opacities, 1.0, False)
    torch.library.opcheck(prepare_op.op, inputs)
    _, state, counts = prepare_op.op(*inputs)
    features = torch.rand(12, 4, requires_grad=True)
    background = torch.rand(4, requires_grad=True)
    torch.library.opcheck(blend_op.op, (view, width, height, state, counts, features, background, None, None, False))


# torch 2.6 traces operators whose output sizes depend on values only when asked to
@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
def test_compilers_see_the_operator_and_get_the_same_bits():
    view, gaussians = make_view(18, 20), make_gaussians(12, scale=0.3)
    leaves = [gaussians[k].requires_grad_() for k in ("means", "scales", "rotations", "opacities")]
    leaves.append(torch.rand(12, 4, requires_grad=True))
    inputs = RasterizeInputs(
        view.values(), 18, 20, *leaves[:3], None, *leaves[3:], None, None, 1.0, antialiasing=False, with_depth=True
    )
    results = []
    for call in (rasterize_op.run, torch.compile(rasterize_op.run, backend="aot_eager", fullgraph=True)):
        image, alpha, depth, *_ = call(inputs)
        loss = image.square().sum() + alpha.sum() + depth.sum()
        results.append([image, alpha, depth, *torch.autograd.grad(loss, leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_opcheck_evaluate_sh():
    coefficients = torch.randn(6, 16, 3, requires_grad=True)
    torch.library.opcheck(evaluate_sh_op.op, (3, torch.randn(6, 3, requires_grad=True), [0.1, 0.2, -3.0], coefficients))


def test_first_nonfinite_value_of_long_arrays(instruction_set):
    values = torch.zeros(300_001, 1)
    values[[70_003, 299_999]] = torch.tensor([[float("inf")], [float("nan")]])
    with pytest.raises(ValueError, match=r"sh_coeffs holds inf at index \[23334, 0, 1\]"):
        evaluate_sh(0, torch.zeros(100_000, 3), torch.zeros(3), values[:300_000].reshape(100_000, 1, 3))
