"""Timer for the named parts of a computation."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds spent in named parts; repeated parts accumulate.

    Attributes:
        seconds: By name, in the order of the first use.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        """`device` is synchronised at the end of each part."""
        self._device = torch.device(device)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block, and of the device work it started, to `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
