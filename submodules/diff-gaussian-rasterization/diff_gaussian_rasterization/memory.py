"""Execution target and memory of calls into the compiled code."""

import torch
from torch import Tensor

from . import _C


def target_for(tensor: Tensor) -> "_C.Target":
    """The backend for `tensor`'s device and type, with torch's thread count and current stream."""
    if not tensor.is_cuda:
        return _C.Target(False, tensor.dtype == torch.float64, torch.get_num_threads(), 0, 0)
    stream = torch.cuda.current_stream(tensor.device).cuda_stream
    return _C.Target(True, False, 1, tensor.device.index, stream)


class Memory:
    """Allocates through torch, so that its caching allocator and memory statistics apply; keeps its tensors alive."""

    def __init__(self, device: torch.device):
        self.device = device
        self.tensors: list[Tensor] = []

    def __call__(self, size: int) -> int:
        """Allocate `size` bytes and return their address."""
        self.tensors.append(torch.empty(max(size, 1), dtype=torch.uint8, device=self.device))
        return self.tensors[-1].data_ptr()


def scratch_for(tensor: Tensor) -> Memory | None:
    """Scratch memory for one call, on `tensor`'s device; None on the CPU, where the compiled code allocates it."""
    return Memory(tensor.device) if tensor.is_cuda else None
