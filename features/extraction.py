"""The loop that runs an extractor over photographs: resumable, sharded, timed, failures reported at the end."""

import json
import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from features.extractor import Extractor, Step
from features.feature_store import FeatureStore
from features.photographs import Photograph, Photographs, read_photograph
from workspace import InputError
from workspace.clock import Clock
from workspace.owned_files import list_written
from workspace.processes import begin_worker, num_cores

log = logging.getLogger(__name__)

MIN_PARALLEL = 8  # photographs; with fewer, starting processes takes longer


def parse_shard(text: str) -> tuple[int, int]:
    """`2/4` as (2, 4): the second of four. The i-th of n shards has every n-th image from the i-th on, by name."""
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise InputError(f"--shard {text!r} is not of the form i/n, for example 1/4.") from None
    if not 1 <= index <= count:
        raise InputError(f"--shard {text}: the first number counts from 1 to the second.")
    return index, count


def extract_all(
    store: FeatureStore, photographs: Photographs, extractor: Extractor, log_path: Path, resolution: int = -1
) -> dict[str, str]:
    """Extract the features of `photographs` into `store`; returns the reason per image that could not be read.

    One JSON line per image goes to `log_path`: which photograph it was made from, when, and how long each part took.
    """
    failures: dict[str, str] = {}
    narrow, found = False, 0
    first, *rest = extractor.steps.items()
    ahead = extractor.first_step_in_processes and len(photographs) >= MIN_PARALLEL
    prepared = _in_processes(photographs, resolution, first) if ahead else _one_by_one(photographs, resolution)
    progress = tqdm(prepared, total=len(photographs), desc="features", unit="image", disable=not photographs)
    for key, prepare in progress:
        clock = Clock()
        try:
            size, digest, value, seconds = prepare()
            clock.seconds.update(seconds)
            for name, step in rest if ahead else extractor.of(key):
                with clock.part(name):
                    value = step(value)
            with clock.part("write"):
                store.check_space(key, value)
                store.write(key, value)
        except InputError as error:
            failures[key] = str(error)
            continue
        except BrokenProcessPool as error:
            raise InputError(
                f"A process that segments pictures was killed before image '{key}', most likely because the memory is full. "
                "Smaller: --resolution 720; on one core: taskset -c 0 python preprocess.py ... The images done so far stay."
            ) from error
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                f"The GPU's memory is too small for image '{key}' ({str(error).split('. ')[0]}). Smaller: --resolution 720, "
                "--sam_model_type vit_b with its weights, or --device cpu. The images done so far are kept."
            ) from error
        counts = value.counts()
        found += sum(counts.values())
        made = {"image": key, "photograph": digest, "at": round(time.time(), 3), "size": [size[1], size[0]]}
        _append(log_path, {**made, **counts, "seconds": _rounded(clock)})
        if size[1] < resolution and not narrow:
            narrow = True
            log.warning("'%s' is narrower than --resolution %d; photographs are never enlarged.", key, resolution)
        progress.set_postfix({name: f"{seconds:.2f}s" for name, seconds in clock.seconds.items()} | counts)
    if len(failures) < len(photographs) and not found:
        log.warning("None of these pictures has a segment; later stages learn nothing from them.")
    return failures


class _Prepared(NamedTuple):
    """A photograph, or the result of its first step, with the seconds per part."""

    size: tuple[int, int]  # height, width
    digest: str
    value: object
    seconds: dict[str, float]


Prepare = Callable[[], _Prepared]  # raises InputError when the photograph is unreadable


def _prepare(key: str, photograph: Photograph, resolution: int, first: tuple[str, Step] | None = None) -> _Prepared:
    clock = Clock()
    with clock.part("read"):
        image, digest = read_photograph(key, *photograph, resolution)
    value = image
    if first is not None:
        name, step = first
        with clock.part(name):
            value = step(image)
    return _Prepared(image.shape[:2], digest, value, clock.seconds)


def _one_by_one(photographs: Photographs, resolution: int) -> Iterator[tuple[str, Prepare]]:
    for key, photograph in photographs.items():
        yield key, partial(_prepare, key, photograph, resolution)


def _in_processes(photographs: Photographs, resolution: int, first: tuple[str, Step]) -> Iterator[tuple[str, Prepare]]:
    """The photographs in order. One process per core reads them and runs the first step, ahead of the other steps; at most
    two pictures per process are in memory."""
    workers = num_cores()
    context = multiprocessing.get_context("spawn")  # a forked child would inherit the locks of torch's threads
    with ProcessPoolExecutor(workers, context, begin_worker) as pool:
        waiting: deque[tuple[str, Future[_Prepared]]] = deque()
        for key, photograph in photographs.items():
            waiting.append((key, pool.submit(_prepare, key, photograph, resolution, first)))
            if len(waiting) >= 2 * workers:
                done, future = waiting.popleft()
                yield done, future.result
        for done, future in waiting:
            yield done, future.result


def _rounded(clock: Clock) -> dict[str, float]:
    return {name: round(seconds, 4) for name, seconds in clock.seconds.items()}


def _append(path: Path, row: dict[str, object]) -> None:
    list_written(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
