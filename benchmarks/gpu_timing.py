"""Time of a call on a GPU, as benchmarks/gpu_rasterizer.py describes it."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

WARM_UP, CALLS = 20, 100


@dataclass(frozen=True)
class Time:
    """Milliseconds per call."""

    kernels: float | None
    events: float
    wall: float


def measure(call: Callable[[], object]) -> Time:
    """Kernel time, time between events, and wall clock time."""
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    share = min(1.0, 0.02 / (time.perf_counter() - start))
    for _ in range(int(WARM_UP * share)):
        call()
    torch.cuda.synchronize()
    calls = max(10, int(CALLS * share))
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(calls)]
    start = time.perf_counter()
    for before, after in events:
        before.record()
        call()
        after.record()
    torch.cuda.synchronize()
    wall = (time.perf_counter() - start) / calls
    return Time(device_time(call), statistics.median(before.elapsed_time(after) for before, after in events), 1e3 * wall)


def device_time(call: Callable[[], object], calls: int = 10) -> float | None:
    """Milliseconds per call that the device spends in kernels and copies; None where the profiler cannot access it."""
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            for _ in range(calls):
                call()
            torch.cuda.synchronize()
        busy = sum(event.self_device_time_total for event in profiler.key_averages())
    except (RuntimeError, AttributeError, AssertionError):
        return None
    return busy / 1e3 / calls if busy > 0 else None
