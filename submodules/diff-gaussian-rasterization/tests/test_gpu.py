"""The CUDA backend on a GPU: against the float64 reference, against the CPU backend, and as a citizen of torch."""

import dataclasses

import diff_gaussian_rasterization as dgr
import pytest
import torch
from cuda_scenes import edge_scenes, make_gaussians, make_view, with_covariances
from diff_gaussian_rasterization import reference
from label_maps import GEOMETRY, assert_same_sums, expected_sums, label_maps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(not dgr._C.has_cuda, reason="the package was built without CUDA"),
]


def run(rasterize, view, gaussians, channels, device, dtype, grad_seed=0):
    """Outputs and gradients by name, on the CPU in float64."""
    n = len(gaussians["means"])
    generator = torch.Generator().manual_seed(grad_seed)
    given = dict(gaussians, features=torch.rand(n, channels, generator=generator), means2d=torch.zeros(n, 2))
    given["background"] = torch.rand(channels, generator=generator)
    given = {k: v.to(device, dtype).requires_grad_() if isinstance(v, torch.Tensor) else v for k, v in given.items()}
    out = rasterize(view, **{"scales": None, "rotations": None, **given})
    maps = out.image, out.alpha, out.depth
    grads = [torch.randn(m.shape, generator=generator).to(device, dtype) for m in maps]
    leaves = {k: v for k, v in given.items() if isinstance(v, torch.Tensor)}
    gradients = torch.autograd.grad(maps, list(leaves.values()), grads, allow_unused=True, materialize_grads=True)
    found = {"image": out.image, "alpha": out.alpha, "depth": out.depth, "radii": out.radii}
    found |= {f"grad_{k}": g for k, g in zip(leaves, gradients, strict=True)}
    return {k: v.detach().cpu().double() for k, v in found.items()}


def assert_matches(found, expected, flips=0.0):
    """`flips`: the share of entries that may differ more, where a value within rounding of a cut-off falls on its other side."""
    for name, value in expected.items():
        if value.numel() == 0:
            continue
        # Values to 1e-4 and gradients to 1e-3 of the largest are the package's promise; a few 1e-6 is usual in float32.
        tolerance = 1e-3 * max(float(value.abs().max()), 1e-6) if name.startswith("grad") else 1e-4 * (1 + value.abs())
        wrong = (found[name] - value).abs() > (0.5 if name == "radii" else tolerance)
        assert torch.isfinite(found[name]).all(), name
        assert wrong.double().mean() <= flips + (1e-3 if name == "radii" else 0), name


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9, 16, 32, 33, 64, 130, 512])
def test_any_number_of_channels(channels):
    view, gaussians = make_view(70, 50), make_gaussians(1500, channels, scale=0.05)
    found = run(dgr.rasterize, view, gaussians, channels, "cuda", torch.float32)
    assert_matches(found, run(reference.rasterize, view, gaussians, channels, "cuda", torch.float64))


@pytest.mark.parametrize("name", edge_scenes())
def test_edges(name):
    view, gaussians = edge_scenes()[name]
    found = run(dgr.rasterize, view, gaussians, 3, "cuda", torch.float32)
    assert_matches(found, run(reference.rasterize, view, gaussians, 3, "cuda", torch.float64))


@pytest.mark.parametrize("options", [{}, {"antialiasing": True}, {"scale_modifier": 0.5}])
def test_options_and_covariances(options):
    view = make_view(70, 50)
    for gaussians in (make_gaussians(500), with_covariances(make_gaussians(500))):
        given = {**gaussians, **options}
        if "covariances" in gaussians:
            given.pop("scale_modifier", None)  # they are taken as they are
        found = run(dgr.rasterize, view, given, 3, "cuda", torch.float32)
        assert_matches(found, run(reference.rasterize, view, given, 3, "cuda", torch.float64))


@pytest.mark.parametrize("channels", [3, 9, 64])
def test_agrees_with_the_cpu_backend_on_a_full_scene(channels):
    view, gaussians = make_view(640, 479), make_gaussians(100_000, scale=0.01)
    found = run(dgr.rasterize, view, gaussians, channels, "cuda", torch.float32)
    assert_matches(found, run(dgr.rasterize, view, gaussians, channels, "cpu", torch.float32), flips=1e-4)


def test_three_million_gaussians_at_full_size():
    view, gaussians = make_view(1440, 1080), make_gaussians(3_000_000, scale=0.003)
    found = run(dgr.rasterize, view, gaussians, 3, "cuda", torch.float32)
    assert all(torch.isfinite(v).all() for v in found.values())
    assert found["alpha"].mean() > 0.1 and found["grad_means"].abs().sum() > 0


def test_no_gaussians():
    found = run(dgr.rasterize, make_view(), make_gaussians(0), 3, "cuda", torch.float32)
    assert (found["alpha"] == 0).all() and torch.equal(found["image"], found["image"][:, :1, :1].expand_as(found["image"]))


def on_gpu(gaussians):
    return {k: v.cuda() for k, v in gaussians.items()}


@pytest.mark.parametrize("channels", [3, 9, 64])
def test_prepared_view_equals_rasterize(channels):
    view, gaussians = make_view(200, 150), on_gpu(make_gaussians(5000, scale=0.03))
    features = torch.rand(5000, channels, device="cuda", requires_grad=True)
    background = torch.rand(channels, device="cuda")
    whole = dgr.rasterize(view, **gaussians, features=features, background=background)
    prepared = dgr.prepare(view, **gaussians)
    assert torch.equal(prepared.radii, whole.radii) and torch.equal(prepared.alpha, whole.alpha)
    grad = torch.randn_like(whole.image)
    (expected,) = torch.autograd.grad(whole.image, features, grad)
    for _ in range(2):
        again = prepared.rasterize(features, background)
        assert torch.equal(again.image, whole.image)  # the same kernel on the same lists
        (found,) = torch.autograd.grad(again.image, features, grad)
        # Atomic additions in another order: float32 rounding of sums of some hundred terms.
        torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_prepared_view_in_a_cuda_graph():
    view, gaussians = make_view(200, 150), on_gpu(make_gaussians(5000, scale=0.03))
    prepared = dgr.prepare(view, **gaussians)
    features = torch.rand(5000, 9, device="cuda", requires_grad=True)

    def step():
        image = prepared.rasterize(features).image
        (grad,) = torch.autograd.grad(image.square().sum(), features)
        return image, grad

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        image, grad = step()
    with torch.no_grad():
        features.copy_(torch.rand(5000, 9, device="cuda"))
    graph.replay()
    expected_image, expected_grad = step()
    assert torch.equal(image, expected_image)
    # Atomic additions in another order: float32 rounding of sums of some hundred terms.
    torch.testing.assert_close(grad, expected_grad, atol=1e-5 * float(expected_grad.abs().max()), rtol=0)


def test_the_first_search_of_a_process_may_be_captured(monkeypatch):
    monkeypatch.setattr(dgr.finite, "_watches", {})  # as if nothing had been searched yet
    prepared = dgr.prepare(make_view(), **on_gpu(make_gaussians(100)))
    features = torch.rand(100, 3, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        image = prepared.rasterize(features).image
    graph.replay()
    assert torch.equal(image, prepared.rasterize(features).image)
    features[3, 1] = torch.nan
    graph.replay()
    torch.cuda.synchronize()
    with pytest.raises(ValueError, match=r"features.*\[3, 1\]"):
        dgr.finite.raise_found(features.device)


def test_projection_in_a_capture_is_refused_in_words():
    view, gaussians = make_view(), on_gpu(make_gaussians(100))
    with pytest.raises(RuntimeError, match="cannot be captured in a CUDA graph"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        dgr.prepare(view, **gaussians)


def test_the_default_device_of_torch_may_be_the_gpu():
    view, gaussians = make_view(), make_gaussians(100)
    expected = dgr.rasterize(view, **gaussians, features=torch.ones(100, 1)).image
    with torch.device("cuda"):
        for given in (gaussians, on_gpu(gaussians)):
            found = dgr.rasterize(view, **given, features=torch.ones(100, 1, device=given["means"].device)).image
            torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [9, 64])
def test_kept_lists_change_no_bit(channels):
    view, gaussians = make_view(200, 150), on_gpu(make_gaussians(5000, scale=0.1))
    prepared = dgr.prepare(view, **gaussians)
    features = torch.rand(5000, channels, device="cuda", requires_grad=True)
    images = [prepared.rasterize(features).image for _ in range(3)]
    assert prepared.kept_nbytes > 0
    assert all(torch.equal(image, images[0]) for image in images)
    first, *_, last = (torch.autograd.grad(image.square().sum(), features)[0] for image in images)
    # Atomic additions in another order: float32 rounding of sums of some hundred terms.
    torch.testing.assert_close(last, first, atol=1e-5 * float(first.abs().max()), rtol=0)


def test_forward_is_deterministic():
    view, gaussians = make_view(200, 150), on_gpu(make_gaussians(20_000, scale=0.03))
    features = torch.rand(20_000, 9, device="cuda")
    first = dgr.rasterize(view, **gaussians, features=features)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(first, dgr.rasterize(view, **gaussians, features=features), strict=True))


def test_waits_for_its_inputs_on_the_current_stream():
    view, gaussians = make_view(200, 150), on_gpu(make_gaussians(5000, scale=0.03))
    features = torch.rand(5000, 9, device="cuda")
    expected = dgr.rasterize(view, **gaussians, features=features).image
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        late = torch.zeros_like(features)
        torch.cuda._sleep(50_000_000)  # some 25 ms, in which nothing on this stream may start
        late.copy_(features)
        found = dgr.rasterize(view, **gaussians, features=late).image
    side.synchronize()
    assert torch.equal(found, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_device_that_is_not_the_current_one():
    view, gaussians = make_view(), {k: v.to("cuda:1") for k, v in make_gaussians(100).items()}
    features = torch.rand(100, 3, device="cuda:1")
    image = dgr.rasterize(view, **gaussians, features=features).image
    assert image.device == torch.device("cuda:1") and torch.cuda.current_device() == 0
    expected = dgr.rasterize(view, **{k: v.cpu() for k, v in gaussians.items()}, features=features.cpu()).image
    torch.testing.assert_close(image.cpu(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics(degree):
    generator = torch.Generator().manual_seed(degree)
    means, coeffs = torch.randn(3000, 3, generator=generator), torch.randn(3000, 16, 3, generator=generator)
    grad = torch.randn(3000, 3, generator=generator)
    results = []
    for device in ("cpu", "cuda"):
        leaves = [t.to(device, copy=True).requires_grad_() for t in (means, coeffs)]
        colors = dgr.evaluate_sh(degree, leaves[0], torch.tensor([0.3, -2.0, 1.0]), leaves[1])
        colors.backward(grad.to(device))
        results.append([colors.detach().cpu(), *[leaf.grad.cpu() for leaf in leaves]])
    for cpu, cuda in zip(*results, strict=True):
        # float32 sums of 16 terms; the gradient by the mean is divided by a distance that can be 0.1.
        torch.testing.assert_close(cuda, cpu, atol=1e-4, rtol=1e-4)


def test_drop_in_classes():
    view, gaussians = make_view(64, 48), make_gaussians(500)
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[1, 1] = 2 * view.fx / view.width, 2 * view.fy / view.height
    projection[2, 2], projection[2, 3], projection[3, 2] = 100 / 99.99, -1 / 99.99, 1
    projection[0, 2], projection[1, 2] = 2 * view.cx / view.width - 1, 2 * view.cy / view.height - 1
    shs, language = torch.randn(500, 16, 3), torch.rand(500, 3)
    results = []
    for device in ("cpu", "cuda"):
        settings = dgr.GaussianRasterizationSettings(
            image_height=view.height,
            image_width=view.width,
            tanfovx=view.width / (2 * view.fx),
            tanfovy=view.height / (2 * view.fy),
            bg=torch.ones(3, device=device),
            scale_modifier=1.0,
            viewmatrix=view.world_to_camera.T.to(device),
            projmatrix=(projection @ view.world_to_camera).T.to(device),
            sh_degree=3,
            campos=torch.linalg.inv(view.world_to_camera)[:3, 3].to(device),
            prefiltered=False,
            debug=False,
            include_feature=True,
        )
        rasterizer = dgr.GaussianRasterizer(settings)
        means = gaussians["means"].detach().to(device).requires_grad_()  # a leaf on both devices
        color, feature, radii = rasterizer(
            means3D=means,
            means2D=torch.zeros_like(means),
            opacities=gaussians["opacities"][:, None].to(device),
            shs=shs.to(device),
            language_feature_precomp=language.to(device),
            scales=gaussians["scales"].to(device),
            rotations=gaussians["rotations"].to(device),
        )
        (color.sum() + feature.sum()).backward()
        visible = rasterizer.markVisible(means.detach())
        results.append([t.detach().cpu() for t in (color, feature, radii.float(), means.grad, visible.float())])
    for name, cpu, cuda in zip(("color", "feature", "radii", "gradient", "visible"), *results, strict=True):
        scale = max(float(cpu.abs().max()), 1.0)
        torch.testing.assert_close(cuda, cpu, atol=1e-4 * scale, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", ["means", "scales", "rotations", "opacities", "features"])
def test_names_the_value_that_is_not_finite(name):
    given = on_gpu(make_gaussians(100)) | {"features": torch.rand(100, 3, device="cuda")}
    given[name].view(100, -1)[41, -1] = torch.nan
    with pytest.raises(ValueError, match=rf"{name}.*41"):
        dgr.rasterize(make_view(), **given)


def test_features_of_a_prepared_view_are_checked_without_waiting():
    prepared = dgr.prepare(make_view(), **on_gpu(make_gaussians(100)))
    features = torch.rand(100, 3, device="cuda")
    spoiled = features.clone()
    spoiled[41, 2] = torch.inf
    prepared.rasterize(spoiled)
    torch.cuda.synchronize()
    with pytest.raises(ValueError, match=r"features.*\[41, 2\]"):
        prepared.rasterize(features)
    assert torch.isfinite(prepared.rasterize(features).image).all()


def test_refuses_tensors_on_two_devices_and_double():
    given = on_gpu(make_gaussians(100)) | {"features": torch.rand(100, 3)}
    with pytest.raises(ValueError, match="features.*cuda"):
        dgr.rasterize(make_view(), **given)
    with pytest.raises(TypeError, match="float32"):
        dgr.rasterize(make_view(), **{k: v.cuda().double() for k, v in given.items()})


def test_opcheck():
    view, gaussians = make_view(), on_gpu(make_gaussians(50))
    prepared = dgr.prepare(view, **gaussians)
    features = torch.rand(50, 3, device="cuda", requires_grad=True)
    arguments = list(prepared._view), view.width, view.height, prepared._state, prepared._counts, prepared.alpha, features, None
    torch.library.opcheck(torch.ops.diff_gaussian_rasterization.blend, arguments)


def test_a_view_may_live_on_the_gpu():
    view, gaussians = make_view(), on_gpu(make_gaussians(100))
    features = torch.rand(100, 3, device="cuda")
    on_device = dataclasses.replace(view, world_to_camera=view.world_to_camera.cuda())
    assert torch.equal(
        dgr.rasterize(on_device, **gaussians, features=features).image, dgr.rasterize(view, **gaussians, features=features).image
    )


@pytest.mark.parametrize("samples", ["all", "centre"])
def test_lifting(samples):
    view, gaussians = make_view(70, 45), make_gaussians(600)
    maps = label_maps(view)
    prepared = dgr.prepare(view, *[gaussians[k].cuda() for k in GEOMETRY])
    found = prepared.lift(maps.cuda(), samples)
    levels = tuple(dgr.LabelWeights(level.gaussians.cpu(), level.labels.cpu(), level.weights.cpu()) for level in found.levels)
    on_host = dgr.LiftedLabels(levels, found.labelled.cpu(), found.unlabelled.cpu())
    assert_same_sums(on_host, expected_sums(view, gaussians, maps, samples))
