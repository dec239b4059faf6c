"""Cache of what every pass over a prepared view would recompute. Results are bitwise identical with and without it.

Training features on frozen geometry uses the same blending weights in every pass. On the CPU the weights are cached: reading them
takes a fraction of the time of evaluating them. They take about 4 bytes per evaluation of alpha, several times the size of the
view. On CUDA the splat list of each 8x4 block is cached, without splats that no pixel blends: 4 bytes per 32 evaluations. All
views share one memory budget; views that do not fit are not cached.
"""

import threading
import weakref

import numpy as np
import torch
from torch import Tensor

from . import _C
from .memory import Memory, target_for
from .prepared_ops import prepared_fields

DEFAULT_BUDGET = 512 << 20


class _Budget:
    """Byte count and limit of the memory that all kept weights share."""

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
    """Bytes that the kept weights of all prepared views may take together; 0 disables keeping. Weights already kept stay."""
    if size < 0:
        raise ValueError(f"the budget must not be negative, found {size}.")
    _budget.limit = size


def _reserved_memory(size: int) -> Tensor:
    """Allocate `size` bytes, already taken from the budget, plus 64 for alignment; freeing them returns `size` to the budget."""
    try:
        memory = np.empty(size + 64, np.uint8)
    except MemoryError:
        _budget.give_back(size)
        raise
    # Tied to the array, not to the view: autograd graphs whose backward pass has not run yet still use the memory. Every
    # tensor over it keeps the array alive.
    weakref.finalize(memory, _budget.give_back, size)
    return torch.from_numpy(memory)


class _NoRoomError(Exception):
    """The budget is used up."""


class _BudgetedMemory(Memory):
    """Device memory that counts against the budget until its tensor is freed."""

    def __call__(self, size: int) -> int:
        if not _budget.take(size):
            raise _NoRoomError
        try:
            address = super().__call__(size)
        except RuntimeError:
            _budget.give_back(size)
            raise
        weakref.finalize(self.tensors[-1], _budget.give_back, size)
        return address


class KeptWeights:
    """The kept weights (CPU) or lists (CUDA) of one view.

    They are created in the second pass that needs gradients: for a view used once they would not pay off.
    """

    def __init__(self) -> None:
        self.tensor: Tensor | None = None
        self._passes = 0
        self._refused_at = -1  # budget limit at the last failed attempt

    def for_pass(self, camera: tuple[list[float], int, int], state: Tensor, counts: Tensor, features: Tensor) -> Tensor | None:
        """The kept weights or lists for blending `features`, or None."""
        if self.tensor is not None:
            return self.tensor
        if features.dtype != torch.float32 or not (features.requires_grad and torch.is_grad_enabled()):
            return None
        if state.is_cuda and torch.cuda.is_current_stream_capturing():
            return None  # reading the size of the lists synchronises
        self._passes += 1
        if self._passes > 1 and _budget.limit > 0 and self._refused_at != _budget.limit:
            if state.is_cuda:
                self._keep_lists(camera, state, counts)
            else:
                self._keep(state, counts)
        return self.tensor

    def _keep_lists(self, camera: tuple[list[float], int, int], state: Tensor, counts: Tensor) -> None:
        limit, memory = _budget.limit, _BudgetedMemory(state.device)
        try:
            _C.keep_lists(target_for(state), camera, prepared_fields(state, counts), memory, Memory(state.device))
        except (_NoRoomError, torch.OutOfMemoryError):
            self._refused_at = limit  # counting cost a pass: retry only when the limit has changed
            return
        (self.tensor,) = memory.tensors

    def _keep(self, state: Tensor, counts: Tensor) -> None:
        target, prepared = target_for(torch.empty(0, device="cpu")), prepared_fields(state, counts)
        limit = _budget.limit
        places = _C.weight_places(target, prepared)
        size = places[-1]
        if not _budget.take(size):
            self._refused_at = limit  # counting cost a pass: retry only when the limit has changed
            return
        tensor = _reserved_memory(size)
        tensor = tensor[-tensor.data_ptr() % 64 :][:size]
        _C.keep_weights(target, prepared, places, tensor.data_ptr())
        self.tensor = tensor
