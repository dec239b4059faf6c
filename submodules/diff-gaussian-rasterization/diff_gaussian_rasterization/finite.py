"""Checks for NaN and infinity: immediate on the CPU, asynchronous on a GPU.

Synchronising with the GPU in every call would leave it idle while Python prepares the next one. Instead, a queued kernel writes
the index of a bad value to host memory, and Python raises it at the first opportunity: in the same call if that synchronises
anyway (projection does), else in the next one. Projection tests the parameters of the Gaussians itself; they are searched again
only to name the bad value in the error.
"""

import ctypes
import math

import numpy as np
import torch
from torch import Tensor

from . import _C
from .memory import target_for

NOTHING_FOUND = 2**63 - 1
PAGE = 64  # reports allocated together; a program uses about a dozen


class _Watch:
    """The reports of one GPU: for each input, the smallest flat index that is not finite.

    Reports are keyed by input name and row shape, so a report that is read after the same input was passed with another
    row shape is still converted to the right index.
    """

    def __init__(self) -> None:
        self.pages: list[np.ndarray] = []
        self.slots: dict[tuple[str, torch.Size], int] = {}

    def start(self, tensors: dict[str, Tensor]) -> None:
        target = target_for(next(iter(tensors.values())))
        watched = []
        for name, tensor in tensors.items():
            slot = self.slots.setdefault((name, tensor.shape[1:]), len(self.slots))
            if slot == PAGE * len(self.pages):
                self.pages.append(_page(target))
            page = self.pages[slot // PAGE]
            watched.append((tensor.data_ptr(), tensor.numel(), page.ctypes.data + slot % PAGE * page.itemsize))
        _C.watch_nonfinite(target, watched)

    def raise_found(self) -> None:
        if all((page == NOTHING_FOUND).all() for page in self.pages):
            return
        reports = np.concatenate(self.pages)
        (name, row), slot = next(item for item in self.slots.items() if reports[item[1]] != NOTHING_FOUND)
        for page in self.pages:
            page[:] = NOTHING_FOUND
        raise ValueError(
            f"{name} holds a NaN or an infinity at index {_unravel(int(reports[slot]), row)}, in this call or an earlier one "
            "on the same GPU; every value must be finite."
        )


def _page(target: "_C.Target") -> np.ndarray:
    # Not allocated by torch: its pinned allocation is an error during CUDA graph capture.
    reports = np.ctypeslib.as_array((ctypes.c_int64 * PAGE).from_address(_C.pinned_reports(target, PAGE)))
    reports[:] = NOTHING_FOUND
    return reports


_watches: dict[torch.device, _Watch] = {}


def check_finite(**tensors: Tensor | None) -> None:
    """Raise ValueError naming the first tensor with a NaN or infinity, and its first index; on a GPU possibly in a later call."""
    on_gpu = {}
    for name, tensor in tensors.items():
        if tensor is None or tensor.numel() == 0:
            continue
        if tensor.is_cuda:
            on_gpu[name] = tensor
            continue
        address = tensor.data_ptr()
        if not address:  # a fake tensor, which has a shape but no values
            continue
        flat = _C.first_nonfinite(target_for(tensor), address, tensor.numel())
        if flat >= 0:
            value = float(tensor.detach().reshape(-1)[flat])
            raise ValueError(f"{name} holds {value} at index {_unravel(flat, tensor.shape[1:])}; every value must be finite.")
    if on_gpu:
        device = next(iter(on_gpu.values())).device
        raise_found(device)
        _watches.setdefault(device, _Watch()).start(on_gpu)


def raise_nonfinite(**tensors: Tensor | None) -> None:
    """Synchronise, and raise ValueError naming the first value that is not finite, if there is one."""
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        bad = (~tensor.isfinite()).nonzero()
        if len(bad):
            index = bad[0].tolist()
            raise ValueError(f"{name} holds {float(tensor[tuple(index)])} at index {index}; every value must be finite.")


def raise_found(device: torch.device) -> None:
    """Raise if a NaN or infinity has been reported for `device`; complete only after its stream was synchronised."""
    if device in _watches:
        _watches[device].raise_found()


def _unravel(flat: int, row: torch.Size) -> list[int]:
    """Multi-dimensional index of flat index `flat` in a tensor with rows of shape `row`."""
    index = []
    for i in range(len(row)):
        size = math.prod(row[i:])
        index.append(flat // size)
        flat %= size
    return [*index, flat]
