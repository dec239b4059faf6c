"""Cache of what every pass over a prepared view would recompute. Results are bitwise identical with and without it.

Training features on frozen geometry uses the same blending weights in every pass. On the CPU the weights are cached: reading them
takes a fraction of the time of evaluating them. They take about 2 bytes per evaluation of alpha, or 4 in float32 (see
`set_weight_precision`). On CUDA the splat list of each 8x4 block is cached, without splats that no pixel blends or terminates at:
4 bytes per 32 evaluations. All views share one memory budget; views that do not fit are not cached.
"""

import threading
import weakref
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import _C
from .memory import Memory, target_for
from .memory_limit import memory_limit
from .prepared_ops import prepared_fields

# Every view whose weights are kept saves the same time, so more is better until memory is short: 16 views of 1,000,000 Gaussians
# at 1440x1080, or hundreds of 640x480.
DEFAULT_BUDGET = min(4_000_000_000, memory_limit() // 4)


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
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"the budget is a number of bytes, an integer; found {size!r}.")
    if size < 0:
        raise ValueError(f"the budget must not be negative, found {size}.")
    _budget.limit = size


def set_weight_precision(bits: Literal[16, 32]) -> None:
    """Bits of the blending weights with which features are trained on views prepared from now on (CPU, float32; default 16).

    With 16, every pass whose features require a gradient rounds the blending weights to 12 significant bits, whether they are
    kept or evaluated, so that results do not depend on the budget. A weight changes by at most 2^-12 of its value; so each
    pixel by at most 2^-12 of the blended absolute features, and each gradient by at most 2^-12 of the sum of its absolute terms.
    Alpha, depth, passes without a gradient, `lift` and `rasterize` use unrounded weights. With 32, nothing is rounded and kept
    weights take twice the memory.
    """
    if not isinstance(bits, int) or bits not in (16, 32):
        raise ValueError(f"the precision must be 16 or 32 bits, found {bits!r}.")
    KeptWeights.half_by_default = bits == 16


def _reserved_memory(size: int) -> Tensor:
    """Take `size` bytes from the budget and allocate them, plus 64 for alignment; freeing them returns `size` to the budget.

    Raises:
        _NoRoomError: the budget or the machine's memory does not suffice.
    """
    if not _budget.take(size):
        raise _NoRoomError
    try:
        memory = np.empty(size + 64, np.uint8)
    except MemoryError:
        _budget.give_back(size)
        raise _NoRoomError from None
    # Tied to the array, not to the view: autograd graphs whose backward pass has not run yet still use the memory. Every
    # tensor over it keeps the array alive.
    weakref.finalize(memory, _budget.give_back, size)
    return torch.from_numpy(memory)


class _NoRoomError(Exception):
    """The budget, or the machine's memory, is used up."""


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


class PassWeights(NamedTuple):
    """What a pass over a view blends with."""

    kept: Tensor | None  # weights or lists
    half: bool = False  # round the weights to 16 bits; `kept` has 16 bits


class KeptWeights:
    """The kept weights (CPU) or lists (CUDA) of one view.

    They are created in the second pass that needs gradients: for a view used once they would not pay off.
    """

    half_by_default = True

    def __init__(self) -> None:
        self.tensor: Tensor | None = None
        self._half = self.half_by_default
        self._passes = 0
        self._refused_at = -1  # budget limit at the last failed attempt

    def __getstate__(self) -> dict[str, bool]:
        """Copies and pickles start without weights: theirs would not count against the budget."""
        return {"half": self._half}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self.__init__()
        self._half = state["half"]

    @property
    def exact(self) -> Tensor | None:
        """The kept weights or lists if they give exact sums."""
        return None if self._half and self.tensor is not None and not self.tensor.is_cuda else self.tensor

    def for_pass(self, camera: tuple[list[float], int, int], state: Tensor, counts: Tensor, features: Tensor) -> PassWeights:
        """What to blend `features` with: kept weights or lists if there are any, and whether to round."""
        if features.dtype != torch.float32 or not (features.requires_grad and torch.is_grad_enabled()):
            return PassWeights(self.exact)
        half = self._half and not state.is_cuda
        capturing = state.is_cuda and torch.cuda.is_current_stream_capturing()  # reading the size of the lists synchronises
        if self.tensor is None and not capturing:
            self._passes += 1
            if self._passes > 1 and _budget.limit > 0 and self._refused_at != _budget.limit:
                keep = partial(self._keep_lists, camera) if state.is_cuda else self._keep
                if torch.compiler.is_compiling():
                    # A compiled pass would guard on the registry of finalizers, which every kept view changes. Not a decorator:
                    # that would import the compiler with this module.
                    keep = torch.compiler.disable(keep)
                keep(state, counts)
        return PassWeights(self.tensor, half)

    def _keep_lists(self, camera: tuple[list[float], int, int], state: Tensor, counts: Tensor) -> None:
        limit, memory = _budget.limit, _BudgetedMemory(state.device)
        try:
            _C.keep_lists(target_for(state), camera, prepared_fields(state, counts), memory, Memory(state.device))
        except (_NoRoomError, torch.OutOfMemoryError):
            self._refused_at = limit  # counting cost a pass: retry only when the limit has changed
            return
        (self.tensor,) = memory.tensors

    def _keep(self, state: Tensor, counts: Tensor) -> None:
        target, prepared = target_for(torch.empty(0, device="cpu")), prepared_fields(state, counts, half=self._half)
        limit = _budget.limit
        places = _C.weight_places(target, prepared)
        size = places[-1]
        try:
            tensor = _reserved_memory(size)
        except _NoRoomError:
            self._refused_at = limit  # counting cost a pass: retry only when the limit has changed
            return
        tensor = tensor[-tensor.data_ptr() % 64 :][:size]
        _C.keep_weights(target, prepared, places, tensor.data_ptr())
        self.tensor = tensor
