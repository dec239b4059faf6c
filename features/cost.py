"""Seconds and memory of an extractor for one photograph, measured in a process of its own with networks of random weights."""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from features.clip_options import crop_filter
from features.preprocessing import PreprocessConfig
from features.random_networks import Discs, random_clip, random_extractor, random_predictor
from features.sam import SamGenerator
from features.sam_clip import PRESETS
from features.segment_extractor import mask_extractor
from workspace.processes import begin_worker

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Seconds of a network of the SAM family for the whole picture and 64 prompts."""

    picture: float
    """Encoding the picture."""
    prompts: float
    """Decoding 64 prompts and enlarging their masks."""
    others: Mapping[str, float]
    """The steps after the segmenter, for the masks of one picture."""

    def seconds(self, options: PreprocessConfig) -> dict[str, float]:
        """Seconds of each step with all prompts and crops of the preset of `options`."""
        settings, _ = PRESETS[options.preset]
        crops = sum(4**layer for layer in range(settings.crop_n_layers + 1))
        segmenter = crops * (self.picture + settings.points_per_side**2 / 64 * self.prompts)
        return {"segmenter": segmenter, **{name: crops * value for name, value in self.others.items()}}


@dataclass(frozen=True)
class Cost:
    """What one photograph takes."""

    seconds: Mapping[str, float]
    """Wall seconds of each step."""
    cpu: float
    """Processor seconds of all threads in what was measured."""
    memory: float
    """Peak memory of the whole process, bytes."""
    gpu_memory: float
    """Peak memory on the GPU, bytes; 0 on a CPU."""
    counts: Mapping[str, int]
    """Number of segments or tokens that were measured."""
    batch: Batch | None = None
    """What `seconds` were computed from, when not everything was measured."""

    @property
    def total(self) -> float:
        """Wall seconds of all steps."""
        return sum(self.seconds.values())


def photograph_cost(
    options: PreprocessConfig, image: UInt8[np.ndarray, "h w 3"], device: str, threads: int, short: bool = False
) -> Cost:
    """Cost of `random_extractor(options)` on one photograph, in a new process.

    `short`: of a network of the SAM family only the whole picture and 64 prompts are measured. The seconds of the others follow
    from these, each crop taken to cost as much as the picture: an upper bound, as crops are smaller.

    Raises:
        InputError: see `random_extractor`.
        BrokenProcessPool: the process was killed, most likely because the memory is full.
    """
    return in_process(_measure, options, image, device, threads, short)


def in_process(function: Callable[..., T], *arguments: object) -> T:
    """The result of `function` in a new process, whose peak memory is its own; of a forked one it includes the parent's."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_worker) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory() -> float:
    """Peak memory of this process, bytes."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def _measure(options: PreprocessConfig, image: np.ndarray, device: str, threads: int, short: bool) -> Cost:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    where = torch.device(device)
    if short and options.features == "sam_clip" and options.segmenter != "graph":
        batch, cpu, counts = _one_batch(options, image, where)
        seconds = batch.seconds(options)
    else:
        batch = None
        seconds, cpu, counts = _steps(random_extractor(options, where).steps, image)
    gpu = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else 0
    return Cost(seconds, cpu, peak_memory(), float(gpu), counts, batch)


def _steps(steps: Mapping[str, Callable], image: np.ndarray) -> tuple[dict[str, float], float, Mapping[str, int]]:
    seconds, cpu, value = {}, time.process_time(), image
    for name, step in steps.items():
        begin = time.perf_counter()
        value = step(value)  # its result is on the CPU, so that a GPU has finished
        seconds[name] = time.perf_counter() - begin
    return seconds, time.process_time() - cpu, value.counts()


def _one_batch(options: PreprocessConfig, image: np.ndarray, device: torch.device) -> tuple[Batch, float, Mapping[str, int]]:
    settings, nms_step = PRESETS[options.preset]
    predictor, encoder = Discs(random_predictor(options, device)), random_clip(options.clip_model, device)
    encode, picture = predictor.set_image, 0.0

    def timed(image: np.ndarray) -> None:
        nonlocal picture
        begin = time.perf_counter()
        encode(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        picture += time.perf_counter() - begin

    predictor.set_image = timed
    one = SamGenerator(predictor, replace(settings, points_per_side=8, crop_n_layers=0))
    steps = mask_extractor(one.generate, encoder, nms_step, crop_filter(options, encoder)).steps
    seconds, cpu, counts = _steps(steps, image)
    others = {name: value for name, value in seconds.items() if name != "segmenter"}
    return Batch(picture, seconds["segmenter"] - picture, others), cpu, counts
