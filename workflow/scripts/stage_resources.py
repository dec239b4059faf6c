"""Minutes and memory that a job asks the scheduler for. Standard library only.

The figures are those of docs/scaling.md (`python -m benchmarks.stage_costs`), with a margin: a job that is killed for time
continues from its own record in the next attempt, which asks for more.
"""

from dataclasses import dataclass
from math import ceil

MARGIN = 3.0  # of the measured time: machines differ
TRAINING = {"fast": 1.0, "published": 12.0}  # length of training; the measured preset is `fast`


@dataclass(frozen=True)
class Cost:
    """Seconds of a stage on two cores without a GPU, and memory in MB: a constant and a part for every photograph."""

    seconds: float
    per_photograph: float
    memory: float
    memory_per_photograph: float
    trained: bool = False
    """Whether it takes as long as the preset says."""


COSTS = {
    "convert": Cost(30, 5.0, 2000, 10),
    "preprocess": Cost(30, 5.0, 4000, 2),
    "preprocess_networks": Cost(60, 60.0, 10000, 2),  # SAM and CLIP on a CPU take minutes for each photograph, on a GPU seconds
    "compress": Cost(20, 1.0, 2000, 10),
    "gaussians": Cost(60, 2.0, 2000, 10, trained=True),
    "language": Cost(30, 1.5, 2000, 10, trained=True),
    "render": Cost(20, 0.5, 2000, 5),
    "query": Cost(30, 0.2, 2500, 2),
    "locate": Cost(30, 0.2, 2500, 2),
    "evaluate": Cost(30, 1.0, 2500, 5),
}


def minutes(stage: str, photographs: int, preset: str | None, attempt: int = 1) -> int:
    """Time limit of a job in minutes; twice the first in the second attempt, and so on."""
    cost = COSTS[stage]
    length = TRAINING[preset or "published"] if cost.trained else 1.0
    return max(5, ceil(MARGIN * length * (cost.seconds + cost.per_photograph * photographs) / 60)) * attempt


def megabytes(stage: str, photographs: int, attempt: int = 1) -> int:
    """Memory of a job in MB; half as much again in every further attempt."""
    cost = COSTS[stage]
    return ceil((cost.memory + cost.memory_per_photograph * photographs) * (1 + 0.5 * (attempt - 1)))
