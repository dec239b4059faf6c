"""The loop every extractor runs in: one image in memory at a time, resumable, sharded, timed, failures kept to the end."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from features.extractor import Extractor
from features.feature_store import FeatureStore
from features.photographs import Photographs, read_photograph
from workspace import InputError

log = logging.getLogger(__name__)


class Clock:
    """Seconds spent in the named parts of one image's extraction."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's time under `name`. Blocks end with their results on the CPU, so no device work is in flight."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


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
    narrow = False
    progress = tqdm(photographs, desc="features", unit="image", disable=not photographs)
    for key in progress:
        clock = Clock()
        try:
            with clock.part("read"):
                image, digest = read_photograph(key, *photographs[key], resolution)
            value = image
            for name, step in extractor.steps.items():
                with clock.part(name):
                    value = step(value)
            with clock.part("write"):
                store.write(key, value)
        except InputError as error:
            failures[key] = str(error)
            continue
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                f"The GPU's memory is too small for image '{key}' ({str(error).split('. ')[0]}). Smaller: --resolution 720, "
                "--sam_model_type vit_b with its weights, or --device cpu. The images done so far are kept."
            ) from error
        counts = value.counts()
        made = {"image": key, "photograph": digest, "at": round(time.time(), 3), "size": [image.shape[1], image.shape[0]]}
        _append(log_path, {**made, **counts, "seconds": _rounded(clock)})
        if image.shape[1] < resolution and not narrow:
            narrow = True
            log.warning("'%s' is narrower than --resolution %d; photographs are never enlarged.", key, resolution)
        progress.set_postfix({name: f"{seconds:.2f}s" for name, seconds in clock.seconds.items()} | counts)
    return failures


def _rounded(clock: Clock) -> dict[str, float]:
    return {name: round(seconds, 4) for name, seconds in clock.seconds.items()}


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
