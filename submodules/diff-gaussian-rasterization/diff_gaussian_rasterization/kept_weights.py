"""Blending weights of prepared views, kept in memory between calls.

Training features on frozen geometry blends the same weights again and again; on the CPU, reading them takes a fraction of
evaluating them, and gives the same bits. They take about 4 bytes per evaluation of alpha, several times the view itself, so
all views share a budget: those that come too late go on evaluating.
"""

import threading
import weakref

import numpy as np
import torch
from torch import Tensor

from . import _C
from .memory import target_for
from .prepared_ops import prepared_fields

DEFAULT_BUDGET = 512 << 20


class _Budget:
    """Memory of all kept weights."""

    def __init__(self) -> None:
        self.limit = DEFAULT_BUDGET
        self._used = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            if self._used + size > self.limit:
                return False
            self._used += size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._used -= size


_budget = _Budget()


def set_weight_budget(size: int) -> None:
    """Bytes that the kept weights of all prepared views may take together; 0 keeps none. What is kept already stays."""
    if size < 0:
        raise ValueError(f"the budget must not be negative, found {size}.")
    _budget.limit = size


def _reserved_memory(size: int) -> Tensor:
    """`size` bytes that the budget has given, and what aligning them takes; back in the budget when they are freed."""
    try:
        memory = np.empty(size + 64, np.uint8)
    except MemoryError:
        _budget.give_back(size)
        raise
    # Not when the view goes: graphs that were not differentiated yet hold on to the memory. Every tensor on it keeps
    # the array alive.
    weakref.finalize(memory, _budget.give_back, size)
    return torch.from_numpy(memory)


class KeptWeights:
    """The weights of one view, from the second pass on that will be differentiated: a view used once is not worth them."""

    def __init__(self) -> None:
        self.tensor: Tensor | None = None
        self._passes = 0
        self._refused_at = -1  # the limit under which there was no room

    def for_pass(self, state: Tensor, counts: Tensor, features: Tensor) -> Tensor | None:
        """The weights for blending `features`, or None when they have to be evaluated."""
        if self.tensor is not None:
            return self.tensor
        if state.is_cuda or features.dtype != torch.float32 or not (features.requires_grad and torch.is_grad_enabled()):
            return None
        self._passes += 1
        if self._passes > 1 and _budget.limit > 0 and self._refused_at != _budget.limit:
            self._keep(state, counts)
        return self.tensor

    def _keep(self, state: Tensor, counts: Tensor) -> None:
        target, prepared = target_for(torch.empty(0, device="cpu")), prepared_fields(state, counts)
        limit = _budget.limit
        places = _C.weight_places(target, prepared)
        size = places[-1]
        if not _budget.take(size):
            self._refused_at = limit  # counting took a pass: not again before the limit changes
            return
        tensor = _reserved_memory(size)
        tensor = tensor[-tensor.data_ptr() % 64 :][:size]
        _C.keep_weights(target, prepared, places, tensor.data_ptr())
        self.tensor = tensor
