#!/usr/bin/env python3
"""What a stage costs, by the size of the scene: time and memory that jobs ask for, and an estimate for many scenes.

    workflow/scripts/stage_resources.py --scenes 10000 --photographs 100 --megapixels 1.5 --gaussians 1.0

Standard library only. The constants are fitted to `python -m benchmarks.stage_costs`; docs/scaling.md says what was measured and
what was not. A job that is killed for time continues from its own record in the next attempt, which asks for more.
"""

import argparse
import sys
from dataclasses import dataclass
from math import ceil

MEMORY_MARGIN = 1.5
MARGIN = 3.0  # of the estimate, for the time limit: machines differ
TRAINING_CORES = 4  # of the rules that train, which use them; the other stages are counted on one
LARGEST = 1.5  # megapixels of a photograph at 1080 pixels high, where nothing else is known
ITERATIONS = {"fast": 1500, "published": 30000}
GAUSSIANS = {"fast": 0.2, "published": 1.5}  # millions, as assumed for the limits


@dataclass(frozen=True)
class Size:
    """The size of a scene, and the length of its training."""

    photographs: int
    megapixels: float
    """Of one photograph."""
    gaussians: float
    """Millions."""
    iterations: int

    @property
    def all_megapixels(self) -> float:
        """Megapixels of all photographs."""
        return self.photographs * self.megapixels


@dataclass(frozen=True)
class Cost:
    """Seconds of one CPU core, memory in MB, bytes on disk in MB."""

    start: float
    """Seconds whatever the size: imports, networks."""
    per_photograph: float = 0.0
    per_megapixel: float = 0.0
    """Of all photographs."""
    per_step_megapixel: float = 0.0
    """For every iteration and megapixel of its view."""
    per_step_million: float = 0.0
    """For every iteration and million Gaussians."""
    memory: float = 1200.0
    memory_per_megapixel: float = 0.0
    """Of all photographs."""
    memory_per_million: float = 0.0
    disk_per_megapixel: float = 0.0
    disk_per_million: float = 0.0

    def seconds(self, size: Size) -> float:
        """Seconds of one core."""
        step = self.per_step_megapixel * size.megapixels + self.per_step_million * size.gaussians
        return (
            self.start
            + self.per_photograph * size.photographs
            + self.per_megapixel * size.all_megapixels
            + step * size.iterations
        )

    def megabytes(self, size: Size) -> float:
        """Memory in MB."""
        return self.memory + self.memory_per_megapixel * size.all_megapixels + self.memory_per_million * size.gaussians

    def disk(self, size: Size) -> float:
        """Results in MB."""
        return self.disk_per_megapixel * size.all_megapixels + self.disk_per_million * size.gaussians


COSTS = {
    "convert": Cost(30, per_photograph=5.0, memory=2000, memory_per_megapixel=10),  # not measured at these sizes
    "preprocess": Cost(12, per_megapixel=4.0, memory=2000, disk_per_megapixel=16.5),
    # SAM ViT-H on two cores: 89 s for a photograph with --preset fast, 804 with the published prompts (docs/features.md), which a
    # CPU ends in its second attempt; not measured on a GPU, for which this is long.
    "preprocess_networks": Cost(60, per_photograph=120.0, memory=10000, disk_per_megapixel=16.5),
    "compress": Cost(8, per_photograph=0.05, memory=950, memory_per_megapixel=1),
    "gaussians": Cost(
        6, per_step_megapixel=0.38, per_step_million=0.69, memory=850, memory_per_million=1500, disk_per_million=248
    ),
    "language": Cost(6, per_photograph=0.18, per_step_megapixel=0.09, memory=1100, memory_per_megapixel=10, disk_per_million=36),
    "lift": Cost(5.3, per_megapixel=0.9, memory=850, memory_per_megapixel=5, memory_per_million=1000, disk_per_million=45),
    "render": Cost(6, per_megapixel=2.3, memory=900, memory_per_million=500, disk_per_megapixel=196),
    "query": Cost(9, per_megapixel=0.5, memory=1100, memory_per_million=500),
    "locate": Cost(8, memory=1050, memory_per_million=500),
    "evaluate": Cost(10, per_megapixel=2.0, memory=1200, memory_per_million=500),
}


def size_of(photographs: int, preset: str | None) -> Size:
    """The size that limits are computed from, of the largest photographs."""
    name = preset or "published"
    return Size(photographs, LARGEST, GAUSSIANS[name], ITERATIONS[name])


def minutes(stage: str, photographs: int, preset: str | None, attempt: int = 1) -> int:
    """Time limit of a job in minutes; twice the first in the second attempt, and so on."""
    cores = TRAINING_CORES if stage in ("gaussians", "language") else 1
    return max(10, ceil(MARGIN * COSTS[stage].seconds(size_of(photographs, preset)) / cores / 60)) * attempt


def megabytes(stage: str, photographs: int, preset: str | None, attempt: int = 1) -> int:
    """Memory of a job in MB; half as much again in every further attempt."""
    return ceil(COSTS[stage].megabytes(size_of(photographs, preset)) * (MEMORY_MARGIN + 0.5 * (attempt - 1)))


def estimate(size: Size, scenes: int, stages: tuple[str, ...]) -> str:
    """A table of core hours, the largest memory of a job, and bytes of results."""
    lines = [f"{'stage':20} {'s per scene':>12} {'core hours':>12} {'MB memory':>10} {'GB disk':>10}"]
    total_seconds = total_disk = 0.0
    for stage in stages:
        seconds, disk = COSTS[stage].seconds(size), COSTS[stage].disk(size)
        total_seconds, total_disk = total_seconds + seconds, total_disk + disk
        hours = seconds * scenes / 3600
        lines.append(
            f"{stage:20} {seconds:12,.0f} {hours:12,.0f} {COSTS[stage].megabytes(size):10,.0f} {disk * scenes / 1e3:10,.0f}"
        )
    hours = total_seconds * scenes / 3600
    lines.append(f"{'all':20} {total_seconds:12,.0f} {hours:12,.0f} {'':10} {total_disk * scenes / 1e3:10,.0f}")
    return "\n".join(lines)


def main() -> None:
    """Print the estimate for a number of scenes."""
    parser = argparse.ArgumentParser(description="Core hours, memory and disk of many scenes on CPUs.")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--photographs", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=LARGEST, help="of one photograph, as used (at most 1080 pixels high)")
    parser.add_argument("--gaussians", type=float, default=1.0, help="millions")
    parser.add_argument("--iterations", type=int, default=ITERATIONS["published"])
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=COSTS,
        default=["preprocess", "compress", "gaussians", "language", "lift", "query", "locate"],
    )
    options = parser.parse_args()
    size = Size(options.photographs, options.megapixels, options.gaussians, options.iterations)
    sys.stdout.write(f"{estimate(size, options.scenes, tuple(options.stages))}\n")


if __name__ == "__main__":
    main()
