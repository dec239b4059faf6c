"""Wall time of calls that may leave work queued on a GPU."""

import statistics
import time
from collections.abc import Callable

import torch


def wait(device: torch.device) -> None:
    """Until the GPU has done what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call with the device work that it starts; what was queued before it does not count."""
    wait(device)
    began = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - began


def median_seconds(
    call: Callable[[], object], repeats: int, device: torch.device, before: Callable[[], object] = lambda: None
) -> float:
    """Median of several calls after one to warm up; `before` precedes every call and is not timed."""
    times = []
    for _ in range(repeats + 1):
        before()
        times.append(seconds_of(call, device))
    return statistics.median(times[1:])
