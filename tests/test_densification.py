import math

import pytest
import torch

from scene.gaussian_model import GaussianModel
from training.densification import PARAMETERS, DensityStatistics, densify, reset_opacities
from training.rgb_state import RgbState

EXTENT = 10.0


def _state(scales, opacities):
    """Gaussians in a row with isotropic scales, after one Adam step whose gradient is the row number plus one."""
    n = len(scales)
    gaussians = GaussianModel(
        means=torch.arange(n).float()[:, None].repeat(1, 3),
        log_scales=torch.tensor(scales).log()[:, None].repeat(1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1),
        opacity_logits=torch.logit(torch.tensor(opacities))[:, None],
        sh_dc=torch.rand(n, 1, 3),
        sh_rest=torch.rand(n, 3, 3),
        active_sh_degree=1,
    )
    state = RgbState.start(gaussians, dict.fromkeys(PARAMETERS, 0.0), seed=0)
    for name in PARAMETERS:
        parameter = getattr(gaussians, name)
        parameter.grad = (torch.arange(n) + 1.0).view(-1, *[1] * (parameter.ndim - 1)).expand_as(parameter).clone()
    state.optimizer.step()
    state.optimizer.zero_grad()
    return state


def _densify(state, grads, prune_large=False):
    n = len(state.gaussians)
    radii = torch.ones(n, dtype=torch.int32)
    statistics = DensityStatistics.zeros(n, torch.device("cpu"))
    statistics.record(torch.stack([torch.tensor(grads), torch.zeros(n)], 1), radii)
    return densify(state.gaussians, state.optimizer, statistics, EXTENT, 2e-4, 0.01, prune_large, state.generator)


def _moments(state, name):
    return state.optimizer.state[getattr(state.gaussians, name)]["exp_avg"]


def test_small_gaussians_with_a_large_gradient_are_cloned():
    state = _state([0.05, 0.05], [0.5, 0.5])
    before = state.gaussians.means.detach().clone()
    statistics = _densify(state, [1e-3, 1e-5])
    torch.testing.assert_close(state.gaussians.means.detach(), before[[0, 1, 0]])
    assert len(statistics.grad_sum) == 3


def test_large_gaussians_with_a_large_gradient_are_split_in_two_inside_the_parent():
    state = _state([0.05, 1.0], [0.5, 0.5])
    _densify(state, [1e-5, 1e-3])
    gaussians = state.gaussians
    assert len(gaussians) == 3  # the parent is gone
    assert gaussians.means[0].tolist() == [0, 0, 0]
    torch.testing.assert_close(gaussians.scales[1:].detach(), torch.full((2, 3), 1 / 1.6))
    offsets = gaussians.means[1:].detach() - 1.0
    assert (offsets != 0).all() and (offsets.abs() < 5).all()  # drawn with standard deviation 1
    assert not torch.equal(offsets[0], offsets[1])


def test_split_samples_follow_the_rotation():
    state = _state([1.0], [0.5])
    with torch.no_grad():
        state.gaussians.log_scales[:, 1:] = math.log(1e-6)
        state.gaussians.quats[:] = 3 * torch.tensor([math.cos(math.pi / 12), 0, 0, math.sin(math.pi / 12)])  # 30 degrees about z
    _densify(state, [1e-3])
    x, y, z = state.gaussians.means.detach().unbind(1)
    assert (x.abs() > 1e-3).all()
    torch.testing.assert_close(y / x, torch.full_like(x, math.tan(math.pi / 6)), rtol=1e-3, atol=0)  # the other scales are 1e-6
    assert (z.abs() < 1e-4).all()


def test_faint_gaussians_are_pruned_and_the_rest_keep_their_moments():
    state = _state([0.05, 0.05, 0.05], [0.5, 0.004, 0.5])
    _densify(state, [0.0, 0.0, 1e-3])
    assert state.gaussians.means[:, 0].tolist() == [0, 2, 2]
    for name in PARAMETERS:
        # Adam's first moment after one step is a tenth of the gradient; the clone starts from nothing.
        rows = _moments(state, name).flatten(1)[:, 0]
        torch.testing.assert_close(rows, torch.tensor([0.1, 0.3, 0.0]))
        assert state.optimizer.state[getattr(state.gaussians, name)]["exp_avg_sq"].shape == getattr(state.gaussians, name).shape
    assert len(state.optimizer.state) == len(PARAMETERS)  # nothing kept of replaced tensors


@pytest.mark.parametrize("prune_large, left", [(False, [0, 1, 2]), (True, [0, 2])])
def test_large_gaussians_are_pruned_only_after_an_opacity_reset(prune_large, left):
    state = _state([0.05, 2.0, 0.05], [0.5, 0.5, 0.5])  # the second is wider than a tenth of the extent
    _densify(state, [0.0, 0.0, 0.0], prune_large=prune_large)
    assert state.gaussians.means[:, 0].tolist() == left


def test_gradients_are_averaged_over_the_views_that_saw_the_gaussian():
    statistics = DensityStatistics.zeros(2, torch.device("cpu"))
    statistics.record(torch.tensor([[3e-4, 4e-4], [1.0, 0.0]]), torch.tensor([5, 0], dtype=torch.int32))
    statistics.record(torch.zeros(2, 2), torch.tensor([9, 0], dtype=torch.int32))
    torch.testing.assert_close(statistics.grad_sum, torch.tensor([5e-4, 0.0]))
    assert statistics.num_views.tolist() == [2, 0]


def test_opacity_reset_lowers_what_is_above_and_forgets_the_moments():
    state = _state([0.05, 0.05], [0.5, 0.006])
    reset_opacities(state.gaussians, state.optimizer)
    torch.testing.assert_close(state.gaussians.opacities.detach(), torch.tensor([0.01, 0.006]))
    assert _moments(state, "opacity_logits").abs().max() == 0
    assert _moments(state, "means").abs().min() > 0


def test_parameters_still_learn_after_the_surgery():
    state = _state([0.05, 1.0], [0.5, 0.5])
    _densify(state, [1e-3, 1e-3])
    for group in state.optimizer.param_groups:
        group["lr"] = 0.1
    before = state.gaussians.means.detach().clone()
    state.gaussians.means.sum().backward()
    state.optimizer.step()
    assert (state.gaussians.means.detach() < before).all()


def test_a_limit_is_filled_with_the_largest_gradients():
    state = _state([0.05, 0.05, 0.05, 0.05], [0.5, 0.5, 0.5, 0.5])
    grads = torch.tensor([1e-3, 3e-3, 1e-5, 2e-3])
    statistics = DensityStatistics.zeros(4, torch.device("cpu"))
    statistics.record(torch.stack([grads, torch.zeros(4)], 1), torch.ones(4, dtype=torch.int32))
    densify(state.gaussians, state.optimizer, statistics, EXTENT, 2e-4, 0.01, False, state.generator, max_gaussians=6)
    assert state.gaussians.means[:, 0].tolist() == [0, 1, 2, 3, 1, 3]
