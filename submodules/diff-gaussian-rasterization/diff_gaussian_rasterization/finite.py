"""Refusal of NaN and infinity: at once on the CPU, without waiting on a GPU.

Waiting for a GPU in every call would leave it idle while Python prepares the next one. There, a kernel in the queue reports
what it finds to host memory, and the report is raised at the first opportunity: by the same call where that waits anyway
(projection does), else by the next one.
"""

import torch
from torch import Tensor

from . import _C
from .memory import target_for

NOTHING_FOUND = 2**63 - 1
SLOTS = 64  # names watched on one device; there are about a dozen


class _Watch:
    """The reports of one GPU: for each name of an input, the smallest flat index that is not finite."""

    def __init__(self) -> None:
        self.pinned = torch.full((SLOTS,), NOTHING_FOUND, dtype=torch.int64).pin_memory()  # the device writes to it
        self.reports = self.pinned.numpy()
        self.slots: dict[str, int] = {}
        self.shapes: dict[str, torch.Size] = {}

    def start(self, name: str, tensor: Tensor) -> None:
        slot = self.slots.setdefault(name, len(self.slots))
        self.shapes[name] = tensor.shape
        report = self.pinned.data_ptr() + slot * self.pinned.element_size()
        _C.watch_nonfinite(target_for(tensor), tensor.data_ptr(), tensor.numel(), report)

    def raise_found(self) -> None:
        if (self.reports == NOTHING_FOUND).all():
            return
        name = next(name for name, slot in self.slots.items() if self.reports[slot] != NOTHING_FOUND)
        flat = int(self.reports[self.slots[name]])
        self.reports[:] = NOTHING_FOUND
        index = _unravel(flat, self.shapes[name])
        raise ValueError(
            f"{name} holds a NaN or an infinity at index {index}, in this call or an earlier one on the same GPU; "
            "every value must be finite."
        )


_watches: dict[torch.device, _Watch] = {}


def check_finite(**tensors: Tensor | None) -> None:
    """Raise ValueError naming the first tensor with a NaN or an infinity, and its first index; on a GPU perhaps later."""
    for name, tensor in tensors.items():
        if tensor is None or tensor.numel() == 0:
            continue
        if tensor.is_cuda:
            raise_found(tensor.device)
            if tensor.device not in _watches:
                _watches[tensor.device] = _Watch()
            _watches[tensor.device].start(name, tensor)
            continue
        flat = _C.first_nonfinite(target_for(tensor), tensor.data_ptr(), tensor.numel())
        if flat >= 0:
            value = float(tensor.reshape(-1)[flat])
            raise ValueError(f"{name} holds {value} at index {_unravel(flat, tensor.shape)}; every value must be finite.")


def raise_found(device: torch.device) -> None:
    """Raise what has been reported for `device` by now; after waiting for its stream, that is everything."""
    if device in _watches:
        _watches[device].raise_found()


def _unravel(flat: int, shape: torch.Size) -> list[int]:
    return [int(i) for i in torch.unravel_index(torch.tensor(flat), shape)]
