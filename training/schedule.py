"""Schedules of RGB training: the published one, and a short one for machines without a GPU."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ADAM_EPS = 1e-15  # as published, for Gaussians and for their codes

Preset = Literal["published", "fast"]


@dataclass(frozen=True)
class Schedule:
    """Iteration numbers of the recipe. Iterations count from 1; an interval of 0 means never."""

    iterations: int
    position_lr_iterations: int
    """Iteration at which the position learning rate reaches its final value."""
    sh_degree_interval: int
    densify_from: int
    densify_until: int
    densify_interval: int
    opacity_reset_interval: int
    max_gaussians: int | None = None
    """Maximum number of Gaussians for densification, which takes the largest gradients first."""
    coarse: tuple[tuple[int, int], ...] = ()
    """(until iteration, divisor): photographs are shrunk by the divisor up to and including that iteration."""
    rate_factors: Mapping[str, float] = field(default_factory=dict)
    """Factors on the learning rates of parameters, by name: a short run needs larger steps."""

    @classmethod
    def of(cls, preset: Preset, iterations: int | None = None) -> "Schedule":
        """Schedule of a preset for a number of iterations, by default the preset's own (30,000 or 1,500)."""
        if preset == "published":
            return cls(30_000 if iterations is None else iterations, 30_000, 1_000, 500, 15_000, 100, 3_000)
        n = 1_500 if iterations is None else iterations
        return cls(
            iterations=n,
            position_lr_iterations=n,
            sh_degree_interval=max(1, n // 8),
            densify_from=n // 4,
            densify_until=n * 6 // 10,
            densify_interval=max(50, n // 40),
            opacity_reset_interval=0,
            max_gaussians=80_000,
            coarse=((n // 4, 2),),
            rate_factors={"means": 3.0, "log_scales": 3.0, "quats": 3.0, "sh_dc": 4.0, "sh_rest": 4.0},
        )

    def densifies(self, iteration: int) -> bool:
        """Whether Gaussians are cloned, split and pruned after this iteration."""
        return self.densify_from < iteration < self.densify_until and iteration % self.densify_interval == 0

    def resets_opacities(self, iteration: int, white_background: bool = False) -> bool:
        """Whether opacities are lowered after this iteration; on white also once at `densify_from`."""
        interval = self.opacity_reset_interval
        due = interval > 0 and (iteration % interval == 0 or (white_background and iteration == self.densify_from))
        return due and iteration < self.densify_until

    def prunes_large(self, iteration: int) -> bool:
        """Whether densification also removes Gaussians that are too large: only after the first opacity reset."""
        return 0 < self.opacity_reset_interval < iteration

    def raises_sh_degree(self, iteration: int) -> bool:
        """Whether the SH degree rises by one before this iteration."""
        return iteration % self.sh_degree_interval == 0

    def divisor(self, iteration: int) -> int:
        """Divisor of the photographs' size in this iteration."""
        return next((divisor for until, divisor in self.coarse if iteration <= until), 1)

    def position_lr(self, iteration: int, initial: float, final: float) -> float:
        """Position learning rate, log-linear from `initial` to `final`."""
        if self.position_lr_iterations == 0:
            return final
        t = min(iteration / self.position_lr_iterations, 1.0)
        return math.exp((1 - t) * math.log(initial) + t * math.log(final))
