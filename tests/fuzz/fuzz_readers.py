"""Damaged files through every reader: each ends in success or in one clear message, in bounded memory and time.

    python tests/fuzz/fuzz_readers.py --count 100000 --seed 1

Prints a line per reader, and for each failure the seed and the number that repeat it.
"""

import argparse
import contextlib
import io
import logging
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from reader_targets import Target, mutated, targets

from workspace import InputError

MOST_MEMORY = 2**30  # bytes above the idle process
MOST_SECONDS = 10
LONGEST_MESSAGE = 4000


def check(target: Target, folder: Path, content: bytes) -> str:
    """`read`, `refused`, or what is wrong with how the reader took `content`."""
    (folder / target.damaged).write_bytes(content)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            target.read(folder)
    except InputError as error:
        text = str(error)
        if len(text) < 20 or len(text) > LONGEST_MESSAGE or "Traceback" in text:
            return f"message of {len(text)} characters: {text[:200]!r}"
        return "refused"
    except Exception:  # noqa: BLE001 - anything else is what is looked for
        return traceback.format_exc()
    return "read"


def prepared(target: Target, root: Path) -> Path:
    """A folder with the files of `target`."""
    folder = root / re.sub(r"\W+", "_", target.name)
    for path, content in target.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@contextlib.contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """TimeoutError when the block takes longer."""

    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def peak() -> int:
    """Largest resident memory so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(count: int, seed: int, only: str = "", number: int | None = None) -> int:
    """Run `count` inputs, shared by the targets; the number of failures."""
    logging.disable(logging.WARNING)
    chosen = [target for target in targets() if only in target.name]
    failures, begin = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        folders = {target.name: prepared(target, Path(root)) for target in chosen}
        for target in chosen:  # everything is imported and allocated that reading needs at all
            assert check(target, folders[target.name], target.files[target.damaged]) == "read", target.name
        idle, slowest, done = peak(), 0.0, 0
        for target in chosen:
            outcomes: Counter[str] = Counter()
            folder = folders[target.name]
            for i in [number] if number is not None else range(count // len(chosen)):
                content = mutated(target, random.Random(f"{seed} {target.name} {i}"))
                start = time.monotonic()
                with alarm(12 * MOST_SECONDS):
                    outcome = check(target, folder, content)
                seconds = time.monotonic() - start
                slowest = max(slowest, seconds)
                if outcome in ("read", "refused") and peak() - idle > MOST_MEMORY:
                    outcome, idle = f"took {(peak() - idle) / 1e9:.2f} GB", peak()
                if outcome in ("read", "refused") and seconds > MOST_SECONDS:
                    outcome = f"took {seconds:.1f} s"
                done += 1
                outcomes[outcome if outcome in ("read", "refused") else "FAILED"] += 1
                if outcome not in ("read", "refused"):
                    failures += 1
                    print(f"--seed {seed} --only {target.name!r} --number {i}:\n{outcome}", flush=True)
            shutil.rmtree(folder)
            print(
                f"{target.name:34} {outcomes['read']:6} read {outcomes['refused']:6} refused {outcomes['FAILED']:4} failed",
                flush=True,
            )
    print(
        f"{done} inputs, {failures} failures, {(peak() - idle) / 1e6:.0f} MB above idle, slowest "
        f"{slowest:.2f} s, {time.monotonic() - begin:.0f} s in all"
    )
    return failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a reader's name")
    parser.add_argument("--number", type=int, help="this input alone")
    options = parser.parse_args()
    sys.exit(bool(fuzz(options.count, options.seed, options.only, options.number)))
