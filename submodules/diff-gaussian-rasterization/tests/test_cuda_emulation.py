"""The CUDA kernels, executed on the host thread by thread, against the reference rasterizer in float64."""

import ctypes

import emulated_cuda
import pytest
import torch
from cuda_scenes import edge_scenes, make_gaussians, make_view, with_covariances
from diff_gaussian_rasterization import LabelWeights, LiftedLabels, reference
from emulated_cuda import rasterize
from label_maps import assert_same_sums, expected_sums, label_maps

pytestmark = pytest.mark.skipif(emulated_cuda.compiler() is None, reason="no C++ compiler")

SHAPED = ("features", "means", "means2d", "scales", "rotations", "opacities")


@pytest.fixture(scope="module")
def library(request):
    return emulated_cuda.build(request.config.cache.mkdir("cuda_emulation"))


def assert_matches_reference(
    library, view, gaussians, channels=3, order="forward", background=True, weigh=(1, 1, 1), capability=9
):
    """Values, then every gradient, then the gradient by features alone (another kernel). `weigh` zero: no gradient from it."""
    n, width, height = len(gaussians["means"]), view.width, view.height
    generator = torch.Generator().manual_seed(n + channels)
    features = torch.rand(n, channels, generator=generator)
    behind = torch.rand(channels, generator=generator) if background else None
    shapes = (channels, height, width), (height, width), (height, width)
    grads = [torch.randn(s, generator=generator) if w else None for s, w in zip(shapes, weigh, strict=True)]
    wanted = ("features", "means2d", *[k for k, v in gaussians.items() if isinstance(v, torch.Tensor)])

    exact = {k: v.double().requires_grad_() if isinstance(v, torch.Tensor) else v for k, v in gaussians.items()}
    exact["features"] = features.double().requires_grad_()
    exact["means2d"] = torch.zeros(n, 2, dtype=torch.float64, requires_grad=True)
    exact = {"scales": None, "rotations": None, **exact}
    expected = reference.rasterize(view, **exact, background=None if behind is None else behind.double())
    image, alpha, depth, radii, found = rasterize(library, view, gaussians, features, behind, grads, wanted, order, capability)

    # A footprint that ends within rounding of a pixel centre may count as seen or not.
    assert int((radii != expected.radii).sum()) <= n / 1000
    # float32 sums of some hundred terms of order 1, in another order than the reference; about 3e-6 was seen.
    torch.testing.assert_close(image, expected.image.detach().float(), atol=2e-5, rtol=0)
    torch.testing.assert_close(alpha, expected.alpha.detach().float(), atol=2e-5, rtol=0)
    torch.testing.assert_close(depth, expected.depth.detach().float(), atol=1e-4, rtol=1e-5)
    outputs = zip((expected.image, expected.alpha, expected.depth), grads, strict=True)
    loss = sum(((output * grad).sum() for output, grad in outputs if grad is not None), start=0 * expected.image.sum())
    for name, grad in zip(wanted, torch.autograd.grad(loss, [exact[k] for k in wanted], retain_graph=True), strict=True):
        # Relative to the largest entry: small ones are differences of large terms. About 5e-6 was seen.
        scale = max(float(grad.abs().max()), 1e-6) if n else 1
        torch.testing.assert_close(
            found[name], grad.reshape(n, -1).float(), atol=1e-4 * scale, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )
    if grads[0] is None:
        return
    (grad_features,) = torch.autograd.grad((expected.image * grads[0]).sum(), [exact["features"]])
    *_, alone = rasterize(library, view, gaussians, features, None, (grads[0], None, None), ("features",), order, capability)
    scale = float(grad_features.abs().max()) if n else 1
    torch.testing.assert_close(alone["features"], grad_features.float(), atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9, 16, 33])
def test_any_number_of_channels(library, channels):
    assert_matches_reference(library, make_view(24, 21), make_gaussians(60, channels), channels)


@pytest.mark.parametrize(("channels", "capability"), [(40, 9), (72, 8), (35, 7), (261, 9)])
def test_many_channels_with_and_without_tensor_cores(library, channels, capability):
    assert_matches_reference(library, make_view(24, 21), make_gaussians(60, channels), channels, capability=capability)


@pytest.mark.parametrize("order", ["reverse", "shuffled"])
def test_threads_may_run_in_any_order(library, order):
    assert_matches_reference(library, make_view(), make_gaussians(150), 9, order)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 16), (17, 15), (8, 40)])
def test_any_size_of_image(library, width, height):
    assert_matches_reference(library, make_view(width, height), make_gaussians(80, width))


@pytest.mark.parametrize("options", [{}, {"antialiasing": True}, {"scale_modifier": 0.5}])
def test_options_and_covariances(library, options):
    assert_matches_reference(library, make_view(), {**make_gaussians(100), **options})
    options.pop("scale_modifier", None)  # covariances are taken as they are
    assert_matches_reference(library, make_view(), {**with_covariances(make_gaussians(100)), **options})


@pytest.mark.parametrize("weigh", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_gradients_of_one_output_alone(library, weigh):
    assert_matches_reference(library, make_view(), make_gaussians(80), background=False, weigh=weigh)


@pytest.mark.parametrize("centres_only", [False, True])
@pytest.mark.parametrize("order", ["forward", "shuffled"])
def test_lifting(library, centres_only, order):
    view, gaussians = make_view(), make_gaussians(150)
    maps = label_maps(view).int()
    rows, labelled, unlabelled = emulated_cuda.lift(library, view, gaussians, maps, centres_only, order)
    found = LiftedLabels(tuple(LabelWeights(*level) for level in rows), labelled, unlabelled)
    assert_same_sums(found, expected_sums(view, gaussians, maps, "centre" if centres_only else "all"))


def test_lifting_more_regions_than_a_warp_has_pixels(library):
    view, gaussians = make_view(20, 18), make_gaussians(40)
    maps = torch.arange(18 * 20, dtype=torch.int32).reshape(1, 18, 20)  # every pixel its own label
    rows, *totals = emulated_cuda.lift(library, view, gaussians, maps)
    assert_same_sums(LiftedLabels((LabelWeights(*rows[0]),), *totals), expected_sums(view, gaussians, maps))


def test_no_gaussians(library):
    image, alpha, depth, radii, gradients = rasterize(
        library, make_view(), make_gaussians(0), torch.zeros(0, 3), torch.ones(3), wanted=SHAPED
    )
    assert (image == 1).all() and (alpha == 0).all() and (depth == 0).all()
    assert all(g.numel() == 0 for g in gradients.values()) and radii.numel() == 0


@pytest.mark.parametrize("name", edge_scenes())
def test_edges(library, name):
    assert_matches_reference(library, *edge_scenes()[name])


@pytest.mark.parametrize("name", ["means", "scales", "rotations", "opacities", "covariances"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_parameters_that_are_not_finite(library, name, value):
    gaussians = make_gaussians(50)
    gaussians = with_covariances(gaussians) if name == "covariances" else gaussians
    gaussians[name].view(50, -1)[7, -1] = value
    with pytest.raises(RuntimeError, match="1 Gaussians have a NaN"):
        rasterize(library, make_view(), gaussians, torch.zeros(50, 3))


def test_reports_the_first_value_that_is_not_finite(library):
    values, report = torch.rand(5000), torch.tensor([2**63 - 1])
    arguments = ctypes.c_void_p(values.data_ptr()), ctypes.c_int64(5000), ctypes.c_void_p(report.data_ptr())
    library.watch_nonfinite(*arguments)
    assert report.item() == 2**63 - 1
    values[[4999, 777, 778]] = torch.tensor([torch.nan, -torch.inf, torch.nan])
    library.watch_nonfinite(*arguments)
    assert report.item() == 777


@pytest.mark.parametrize("offset", [0, 1])  # a tensor that begins between two 16-byte loads is read value by value
@pytest.mark.parametrize("bad", [0, 5, 20_001, 20_002])
def test_searches_every_value(library, offset, bad):
    values, report = torch.rand(20_004), torch.tensor([2**63 - 1])
    values[offset + bad] = torch.inf
    library.watch_nonfinite(
        ctypes.c_void_p(values[offset:].data_ptr()), ctypes.c_int64(20_003), ctypes.c_void_p(report.data_ptr())
    )
    assert report.item() == bad


@pytest.fixture
def runtime(library):
    """The emulated runtime: state to set, and counts from zero."""
    state = library.runtime().contents
    ctypes.memset(ctypes.addressof(state), 0, ctypes.sizeof(state))
    yield state
    ctypes.memset(ctypes.addressof(state), 0, ctypes.sizeof(state))


def test_projection_waits_once_and_copies_to_pinned_memory(library, runtime):
    gaussians = make_gaussians(200)
    gaussians["means"][:150, 2] *= -1  # behind the camera
    rasterize(library, make_view(), gaussians, torch.zeros(200, 3))  # the first call of a thread allocates
    ctypes.memset(ctypes.addressof(runtime), 0, ctypes.sizeof(runtime))
    *_, radii, _ = rasterize(library, make_view(), gaussians, torch.zeros(200, 3))
    assert (runtime.waits, runtime.pageable_copies, runtime.pinned_bytes) == (2, 0, 0)  # projection, and the kept lists
    visible = int((radii > 0).sum())
    pairs = library.last_pairs()
    assert 0 < visible < 60 and pairs > 0
    assert runtime.sorted_elements == visible + pairs  # not the 150 behind the camera


def test_kept_lists_end_where_blending_does(library):
    gaussians = make_gaussians(300, scale=3.0)  # everywhere, and nearly opaque: a dozen end every pixel
    gaussians["opacities"][:] = 0.9
    *_, radii, _ = rasterize(library, make_view(16, 16), gaussians, torch.zeros(300, 1))
    assert int((radii > 0).sum()) == library.last_pairs() > 100  # on the one tile
    assert 8 * 4 <= library.last_kept_positions() <= 8 * 20  # of its eight blocks


def test_leaves_the_current_device_alone(library, runtime):
    rasterize(library, make_view(), make_gaussians(20), torch.zeros(20, 3), wanted=SHAPED)
    assert runtime.device_changes == 0
    runtime.current_device = 1  # the tensors are on device 0
    rasterize(library, make_view(), make_gaussians(20), torch.zeros(20, 3))
    assert runtime.device_changes > 0 and runtime.current_device == 1


def test_what_may_happen_while_a_graph_is_captured(library, runtime):
    runtime.capturing = 1
    with pytest.raises(RuntimeError, match=r"cannot be captured in a CUDA graph; prepare\(\) the view before"):
        rasterize(library, make_view(), make_gaussians(20), torch.zeros(20, 3))
    assert runtime.waits == 0  # a wait would have broken the capture
    assert library.pinned_reports(ctypes.c_int64(8))


def test_an_old_driver_is_told_of_with_the_version_it_takes(library, runtime):
    runtime.old_driver = 1
    with pytest.raises(RuntimeError, match=r"built with CUDA 13\.0, .* 580 for 13: update the driver"):
        rasterize(library, make_view(), make_gaussians(20), torch.zeros(20, 3))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics(library, degree):
    generator = torch.Generator().manual_seed(degree)
    n, stride = 300, 16
    means, coefficients = torch.randn(n, 3, generator=generator), torch.randn(n, stride, 3, generator=generator)
    center, grad_colors = torch.tensor([0.3, -2.0, 1.0]), torch.randn(n, 3, generator=generator)
    colors, grad_means, grad_coefficients = (torch.full_like(t, torch.nan) for t in (means, means, coefficients))
    call = emulated_cuda.Harmonics(
        n, stride, degree, means.data_ptr(), coefficients.data_ptr(), (ctypes.c_float * 3)(*center.tolist())
    )
    gradients = emulated_cuda.HarmonicsGradients(grad_means.data_ptr(), grad_coefficients.data_ptr())
    assert not library.harmonics(
        ctypes.byref(call),
        ctypes.c_void_p(colors.data_ptr()),
        ctypes.c_void_p(grad_colors.data_ptr()),
        ctypes.byref(gradients),
    )
    exact = [means.double().requires_grad_(), coefficients.double().requires_grad_()]
    expected = reference.evaluate_sh(degree, exact[0], center.double(), exact[1])
    torch.testing.assert_close(colors, expected.detach().float(), atol=1e-5, rtol=0)  # float32 sums of 16 terms
    expected_grads = torch.autograd.grad((expected * grad_colors).sum(), exact, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(grad_coefficients, expected_grads[1].float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(grad_means, expected_grads[0].float(), atol=1e-4, rtol=1e-4)
