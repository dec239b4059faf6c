"""Where compiled calls run and what memory they get."""

import torch
from torch import Tensor

from . import _C


def target_for(tensor: Tensor) -> "_C.Target":
    """The backend of `tensor`'s device and type, torch's thread count, its current stream."""
    target = _C.Target()
    target.is_double = tensor.dtype == torch.float64
    target.threads = torch.get_num_threads()
    if tensor.device.type == "cuda":
        target.cuda = True
        target.device = tensor.device.index
        target.stream = torch.cuda.current_stream(tensor.device).cuda_stream
    return target


def address(tensor: Tensor | None) -> int:
    """Address of the first element of a contiguous tensor, 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


class Memory:
    """Allocates through torch, so that its caching allocator and memory statistics cover ours; keeps what it gave."""

    def __init__(self, device: torch.device):
        self.device = device
        self.tensors: list[Tensor] = []

    def __call__(self, size: int) -> int:
        """Address of `size` new bytes."""
        self.tensors.append(torch.empty(max(size, 1), dtype=torch.uint8, device=self.device))
        return self.tensors[-1].data_ptr()
