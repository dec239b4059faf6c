"""The simulated CUDA device: it finds what fails on a GPU and lets pass what works there."""

import numpy as np
import pytest
import torch
from simulated_device import simulated_cuda


@pytest.fixture(autouse=True)
def device():
    with simulated_cuda() as mode:
        yield mode


def test_tensors_are_where_they_were_put():
    on_gpu, on_cpu = torch.zeros(3, device="cuda"), torch.zeros(3)
    assert on_gpu.device == torch.device("cuda", 0) and on_gpu.is_cuda and not on_cpu.is_cuda
    for result in (on_gpu + 1, on_gpu[1:], on_gpu.double(), torch.empty_like(on_gpu), on_gpu.new_ones(2), on_gpu.max(0).values):
        assert result.is_cuda
    assert on_cpu.to("cuda").is_cuda and not on_cpu.is_cuda and not on_gpu.cpu().is_cuda
    on_cpu.copy_(on_gpu)
    assert not on_cpu.is_cuda


@pytest.mark.parametrize(
    "mixed",
    [
        lambda gpu, cpu: gpu + cpu,
        lambda gpu, cpu: torch.cat([gpu, cpu]),
        lambda gpu, cpu: torch.nn.functional.l1_loss(gpu, cpu),
        lambda gpu, cpu: cpu[gpu.long()],
        lambda gpu, cpu: torch.equal(gpu, cpu),
        lambda gpu, cpu: torch.rand(3, device="cuda", generator=torch.Generator()),
    ],
)
def test_mixing_devices_is_refused(mixed):
    with pytest.raises(RuntimeError, match=r"device|generator|indices"):
        mixed(torch.zeros(3, device="cuda"), torch.zeros(3))


def test_numpy_is_refused_on_the_gpu_only():
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(torch.zeros(3, device="cuda"))
    assert torch.ones(3, device="cuda").cpu().numpy().sum() == 3


def test_scalars_and_indices_of_the_cpu_mix():
    values = torch.arange(4.0, device="cuda")
    assert (values * torch.tensor(2.0)).is_cuda and values[torch.tensor([0, 3])].is_cuda


def test_modules_gradients_and_optimisers_stay_on_the_gpu():
    layer = torch.nn.Linear(3, 2).to("cuda")
    layer(torch.rand(4, 3, device="cuda")).sum().backward()
    torch.optim.Adam(layer.parameters(), fused=True).step()
    assert all(parameter.is_cuda and parameter.grad.is_cuda for parameter in layer.parameters())


def test_the_backward_pass_of_a_function_sees_the_gpu():
    seen = []

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(2 * x)
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            seen.extend([grad.is_cuda, ctx.saved_tensors[0].is_cuda])
            return 2 * grad

    x = torch.ones(3, device="cuda", requires_grad=True)
    (grad,) = torch.autograd.grad(Double.apply(x).sum(), x)
    assert seen == [True, True] and grad.is_cuda and grad.tolist() == [2, 2, 2]
