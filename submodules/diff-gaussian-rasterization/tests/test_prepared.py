"""Prepared views: the same pictures and feature gradients as `rasterize`, for less."""

import copy
import pickle

import pytest
import torch
from cuda_scenes import make_gaussians, make_view
from diff_gaussian_rasterization import prepare, rasterize, set_weight_budget, set_weight_precision
from diff_gaussian_rasterization.kept_weights import DEFAULT_BUDGET
from diff_gaussian_rasterization.memory_limit import memory_limit


@pytest.fixture(params=[16, 32])
def precision(request):
    """Bits of the blending weights, each in turn."""
    set_weight_precision(request.param)
    yield request.param
    set_weight_precision(16)


@pytest.fixture
def float_weights():
    set_weight_precision(32)
    yield
    set_weight_precision(16)


@pytest.mark.parametrize("channels", [1, 3, 9, 16, 70])
@pytest.mark.usefixtures("float_weights")
def test_same_bits_as_rasterize(channels):
    view, gaussians = make_view(70, 45), make_gaussians(400)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    features = torch.rand(400, channels, requires_grad=True)
    background = torch.rand(channels, requires_grad=True)
    weights = torch.randn(channels, 45, 70)
    prepared = prepare(view, *geometry, antialiasing=True)
    results = []
    for out in (
        prepared.rasterize(features, background),
        rasterize(view, *geometry, features, background=background, antialiasing=True),
    ):
        grads = torch.autograd.grad((out.image * weights).sum(), (features, background))
        results.append([out.image, out.alpha, out.depth, out.radii, *grads])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("with_gradient", [False, True])
def test_alpha_and_depth_are_the_same_whenever_they_are_asked_for(with_gradient, precision):
    view, gaussians = make_view(70, 45), make_gaussians(400)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    features = torch.rand(400, 12, requires_grad=with_gradient)
    expected = rasterize(view, *geometry, features.detach())
    asked, drawn = prepare(view, *geometry), prepare(view, *geometry)
    before = asked.alpha, asked.depth
    for prepared in (asked, drawn):
        for _ in range(2):  # the first image of `drawn` brings both along
            out = prepared.rasterize(features)
            assert torch.equal(out.image, expected.image) or (with_gradient and precision == 16)
            assert torch.equal(out.alpha, expected.alpha) and torch.equal(out.depth, expected.depth)
            assert not out.alpha.requires_grad and not out.depth.requires_grad
    assert torch.equal(before[0], expected.alpha) and torch.equal(before[1], expected.depth)


def test_geometry_is_frozen_and_measured():
    gaussians = make_gaussians(50)
    geometry = [gaussians[k].requires_grad_() for k in ("means", "scales", "rotations", "opacities")]
    prepared = prepare(make_view(), *geometry)
    out = prepared.rasterize(torch.rand(50, 3))
    assert not out.image.requires_grad and not out.depth.requires_grad
    assert 0 < prepared.num_visible <= 50 and prepared.num_pairs >= prepared.num_visible
    # 32 bytes per pair and 4 for its place, and the alpha and depth images.
    assert prepared.nbytes >= 36 * prepared.num_pairs + 2 * 4 * 40 * 37


def test_many_channels_go_in_several_passes():
    # More pairs times channels than the gradient slots of one pass hold (256 MiB); the gradient must not notice.
    view = make_view(160, 160)
    gaussians = make_gaussians(9000, scale=1.5)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    geometry[3] = 0.02 * geometry[3] + 0.01
    prepared = prepare(view, *geometry)
    channels = 160
    assert prepared.num_pairs * channels * 4 > 256 << 20
    features = torch.rand(9000, channels, requires_grad=True)
    weights = torch.randn(channels, 160, 160)
    (prepared.rasterize(features).image * weights).sum().backward()
    part = features.detach()[:, -8:].clone().requires_grad_()
    (prepared.rasterize(part).image * weights[-8:]).sum().backward()
    assert torch.equal(features.grad[:, -8:], part.grad)


def passes(prepared, features, weights, background, times):
    """Image and gradients of every pass."""
    results = []
    for _ in range(times):
        image = prepared.rasterize(features, background).image
        results.append([image, *torch.autograd.grad((image * weights).sum(), (features, background))])
    return results


@pytest.mark.parametrize("channels", [1, 9, 20])
def test_kept_weights_change_no_bit(channels, precision, instruction_set):
    # More pairs in a tile than a batch holds, pixels that stop early, and tiles cut by the image's border.
    view, gaussians = make_view(70, 45), make_gaussians(3000, scale=0.3)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    features = torch.rand(3000, channels, requires_grad=True)
    background, weights = torch.rand(channels, requires_grad=True), torch.randn(channels, 45, 70)
    prepared = prepare(view, *geometry)
    first, *others = passes(prepared, features, weights, background, 3)
    assert prepared.kept_nbytes > 0
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_16_bit_weights_change_images_and_gradients_within_the_bound(instruction_set):
    gaussians = make_gaussians(3000, scale=0.3)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    features = torch.randn(3000, 9, requires_grad=True)
    weights = torch.randn(9, 45, 70)
    results, sizes = {}, {}
    try:
        for bits in (32, 16):
            set_weight_precision(bits)
            prepared = prepare(make_view(70, 45), *geometry)
            for _ in range(2):
                image = prepared.rasterize(features).image
                results[bits] = image, *torch.autograd.grad(image, features, weights)
            sizes[bits] = prepared.kept_nbytes
    finally:
        set_weight_precision(16)
    # Every weight is off by at most 2^-12 of itself; the sums' own rounding is far below a percent of that.
    absolute = features.detach().abs().requires_grad_()
    image = prepared.rasterize(absolute).image
    largest = image, *torch.autograd.grad(image, absolute, weights.abs())
    for half, full, bound in zip(results[16], results[32], largest, strict=True):
        assert ((half - full).abs() <= 1.01 * 2**-12 * bound + 1e-6).all()
        assert not torch.equal(half, full)
    assert 0.45 * sizes[32] < sizes[16] < 0.65 * sizes[32]


def test_the_precision_of_weights_is_16_or_32_bits():
    with pytest.raises(ValueError, match="the precision must be 16 or 32 bits, found 8"):
        set_weight_precision(8)


def test_weights_are_kept_from_the_second_pass_within_the_budget():
    gaussians = make_gaussians(400)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    views = [prepare(make_view(), *geometry) for _ in range(3)]
    arguments = (torch.rand(400, 3, requires_grad=True), torch.randn(3, 37, 40), torch.rand(3, requires_grad=True))
    try:
        set_weight_budget(0)
        expected = passes(views[0], *arguments, 2)[1]
        assert views[0].kept_nbytes == 0
        set_weight_budget(DEFAULT_BUDGET)
        passes(views[0], *arguments, 1)
        size = views[0].kept_nbytes
        assert size > 0
        passes(views[1], *arguments, 1)
        assert views[1].kept_nbytes == 0  # one pass alone would not pay
        set_weight_budget(2 * size)
        for view in views:
            passes(view, *arguments, 2)
        assert [view.kept_nbytes for view in views] == [size, size, 0]
        assert all(torch.equal(a, b) for a, b in zip(expected, passes(views[2], *arguments, 1)[0], strict=True))
        del view, views[:2]
        set_weight_budget(2 * size + 1)  # a view that was refused asks again when the budget changes
        passes(views[0], *arguments, 1)
        assert views[0].kept_nbytes == size
    finally:
        set_weight_budget(DEFAULT_BUDGET)


def test_weights_that_a_graph_holds_count_after_their_view():
    gaussians = make_gaussians(400)
    geometry = [gaussians[k] for k in ("means", "scales", "rotations", "opacities")]
    first, second = (prepare(make_view(), *geometry) for _ in range(2))
    arguments = (torch.rand(400, 3, requires_grad=True), torch.randn(3, 37, 40), torch.rand(3, requires_grad=True))
    try:
        passes(first, *arguments, 2)
        size = first.kept_nbytes
        image = first.rasterize(arguments[0]).image
        del first
        set_weight_budget(size)
        passes(second, *arguments, 2)
        assert second.kept_nbytes == 0
        del image
        set_weight_budget(size + 1)  # a view that was refused asks again when the budget changes
        passes(second, *arguments, 1)
        assert second.kept_nbytes == size
    finally:
        set_weight_budget(DEFAULT_BUDGET)


def test_renderings_without_gradient_keep_nothing():
    gaussians = make_gaussians(50)
    prepared = prepare(make_view(), *[gaussians[k] for k in ("means", "scales", "rotations", "opacities")])
    for _ in range(3):
        prepared.rasterize(torch.rand(50, 3))
    assert prepared.kept_nbytes == 0


def small_view():
    gaussians = make_gaussians(50)
    return prepare(make_view(), *[gaussians[k] for k in ("means", "scales", "rotations", "opacities")])


def test_a_view_that_was_asked_in_inference_mode_can_be_trained_on():
    with torch.inference_mode():
        asked, drawn, made = small_view(), small_view(), small_view()
        asked.alpha  # noqa: B018 - blended here
        drawn.rasterize(torch.rand(50, 3))
    expected, arguments = small_view(), (torch.rand(50, 3, requires_grad=True), torch.randn(3, 37, 40), torch.rand(3))
    for view in (asked, drawn, made):
        out = view.rasterize(*arguments[::2])
        (gradient,) = torch.autograd.grad(out.image, arguments[0], arguments[1])
        known = expected.rasterize(*arguments[::2])
        assert torch.equal(gradient, torch.autograd.grad(known.image, arguments[0], arguments[1])[0])
        assert torch.equal(out.alpha, known.alpha)


def test_what_a_caller_does_to_a_result_does_not_reach_the_view():
    view, features = small_view(), torch.rand(50, 3)
    alpha, depth = view.alpha.clone(), view.depth.clone()
    out = view.rasterize(features)
    out.alpha.clamp_(min=0.5)
    out.depth.div_(out.alpha)
    assert torch.equal(view.alpha, alpha) and torch.equal(view.depth, depth)
    assert torch.equal(view.rasterize(features).depth, depth)


def test_copies_keep_no_weights_beside_the_budget():
    view, arguments = (
        small_view(),
        (torch.rand(50, 3, requires_grad=True), torch.randn(3, 37, 40), torch.rand(3, requires_grad=True)),
    )
    expected = passes(view, *arguments, 2)[1]
    assert view.kept_nbytes > 0
    for copied in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert copied.kept_nbytes == 0
        assert all(torch.equal(a, b) for a, b in zip(expected, passes(copied, *arguments, 1)[0], strict=True))


@pytest.mark.parametrize("size", ["4GB", None, True, float("nan"), 1e9])
def test_a_budget_is_a_number_of_bytes(size):
    with pytest.raises(TypeError, match="the budget is a number of bytes, an integer; found"):
        set_weight_budget(size)


def test_a_machine_without_room_for_weights_trains_on(monkeypatch):
    view, arguments = small_view(), (torch.rand(50, 3, requires_grad=True), torch.randn(3, 37, 40), torch.rand(3))
    expected = [view.rasterize(*arguments[::2]).image for _ in range(2)][1]

    def none_left(size, dtype):
        raise MemoryError

    other = small_view()
    with monkeypatch.context() as short:
        short.setattr("diff_gaussian_rasterization.kept_weights.np.empty", none_left)
        images = [other.rasterize(*arguments[::2]).image for _ in range(3)]
    assert view.kept_nbytes > 0 and other.kept_nbytes == 0
    assert all(torch.equal(image, expected) for image in images)
    set_weight_budget(DEFAULT_BUDGET - 1)  # asked again, and the failed attempts took nothing from the budget
    try:
        other.rasterize(*arguments[::2])
        assert other.kept_nbytes == view.kept_nbytes
    finally:
        set_weight_budget(DEFAULT_BUDGET)


def test_a_container_has_less_memory_than_its_machine(tmp_path):
    machine = memory_limit(tmp_path)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/old\n1:cpu:/\n0::/slurm/job_7/step_0\n")
    assert memory_limit(tmp_path) == machine
    for path, text in (
        ("slurm/job_7/step_0/memory.max", "max\n"),
        ("slurm/job_7/memory.max", "3000000\n"),
        ("memory/old/memory.limit_in_bytes", "9223372036854771712\n"),
    ):
        (tmp_path / "sys/fs/cgroup" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup" / path).write_text(text)
    assert memory_limit(tmp_path) == 3_000_000
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("2000000\n")
    assert memory_limit(tmp_path) == 2_000_000


def test_lifting_does_not_follow_the_default_device():
    view, labels = small_view(), torch.zeros(1, 37, 40, dtype=torch.int32)
    expected = view.lift(labels).labelled
    torch.set_default_device("meta")
    try:
        assert torch.equal(view.lift(labels).labelled, expected)
    finally:
        torch.set_default_device(None)
