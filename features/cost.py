"""Seconds and memory of an extractor for one photograph, each measured in a process of its own."""

import multiprocessing
import resource
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from features.preprocessing import PreprocessConfig
from features.random_networks import random_extractor
from workspace.processes import begin_worker


@dataclass(frozen=True)
class Cost:
    """What one photograph takes."""

    load: float
    """Seconds until the networks are built."""
    seconds: Mapping[str, float]
    """Wall seconds of each step."""
    cpu: float
    """Processor seconds of all threads in these steps."""
    memory: float
    """Peak memory of the whole process, bytes."""
    gpu_memory: float
    """Peak memory on the GPU, bytes; 0 on a CPU."""
    counts: Mapping[str, int]
    """Number of segments or tokens."""

    @property
    def total(self) -> float:
        """Wall seconds of all steps."""
        return sum(self.seconds.values())


def photograph_cost(options: PreprocessConfig, image: UInt8[np.ndarray, "h w 3"], device: str, threads: int, repeats: int = 1) -> Cost:
    """Cost of `random_extractor(options)` on one photograph, the last of `repeats`, in a new process.

    Raises:
        InputError: see `random_extractor`.
        BrokenProcessPool: the process was killed, most likely because the memory is full.
    """
    context = multiprocessing.get_context("spawn")  # of a forked process the peak memory includes its parent's
    with ProcessPoolExecutor(1, context, begin_worker) as pool:
        return pool.submit(_measure, options, image, device, threads, repeats).result()


def _measure(options: PreprocessConfig, image: np.ndarray, device: str, threads: int, repeats: int) -> Cost:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    where = torch.device(device)
    begin = time.perf_counter()
    extractor = random_extractor(options, where)
    load = time.perf_counter() - begin
    for _ in range(repeats):
        seconds, cpu = {}, time.process_time()
        value: object = image
        for name, step in extractor.steps.items():
            begin = time.perf_counter()
            value = step(value)  # its result is on the CPU, so that the GPU has finished
            seconds[name] = time.perf_counter() - begin
        cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    gpu = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else 0
    return Cost(load, seconds, cpu, peak, gpu, value.counts())
