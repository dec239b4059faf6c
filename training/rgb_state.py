"""State that RGB training changes from one iteration to the next; a checkpoint of it continues the run without loss."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from scene.gaussian_model import GaussianModel
from training.densification import PARAMETERS, DensityStatistics
from training.schedule import ADAM_EPS

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class RgbState:
    """Gaussians, optimiser, density statistics and random generator after `iteration` iterations."""

    gaussians: GaussianModel
    """Its tensors are the parameters of `optimizer`."""
    optimizer: torch.optim.Adam
    statistics: DensityStatistics
    generator: torch.Generator
    """For the camera order and for splits; on the CPU."""
    iteration: int = 0
    seconds: float = 0.0
    """Training time of all runs so far, evaluation excluded."""
    queue: list[int] = field(default_factory=list)
    """Indices of the training cameras to visit next."""

    @classmethod
    def start(cls, gaussians: GaussianModel, rates: dict[str, float], seed: int, iteration: int = 0) -> "RgbState":
        """Begin with these Gaussians; `rates` are learning rates by parameter."""
        optimizer = _adam(gaussians, rates)
        statistics = DensityStatistics.zeros(len(gaussians), gaussians.means.device)
        return cls(gaussians, optimizer, statistics, torch.Generator().manual_seed(seed), iteration)

    def saved(self) -> dict[str, Any]:
        """The state as tensors, numbers, lists and dicts."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "queue": self.queue,
            "generator": self.generator.get_state(),
            "active_sh_degree": self.gaussians.active_sh_degree,
            "parameters": {name: getattr(self.gaussians, name).detach() for name in PARAMETERS},
            "adam": {
                group["name"]: {key: self.optimizer.state[group["params"][0]][key] for key in MOMENTS}
                for group in self.optimizer.param_groups
                if self.optimizer.state.get(group["params"][0])
            },
            "statistics": vars(self.statistics),
        }

    @classmethod
    def restored(cls, saved: dict[str, Any], rates: dict[str, float]) -> "RgbState":
        """The state from the output of `saved`; ValueError when its sizes do not match."""
        gaussians = GaussianModel(**saved["parameters"], active_sh_degree=saved["active_sh_degree"])
        optimizer = _adam(gaussians, rates)
        for group in optimizer.param_groups:
            (parameter,) = group["params"]
            if len(parameter) != len(gaussians):
                raise ValueError(f"{len(parameter)} rows of {group['name']} for {len(gaussians)} Gaussians")
            if group["name"] in saved["adam"]:
                moments = {key: saved["adam"][group["name"]][key] for key in MOMENTS}
                if not moments["exp_avg"].shape == moments["exp_avg_sq"].shape == parameter.shape:
                    raise ValueError(f"the moments of {group['name']} have another shape")
                optimizer.state[parameter] = moments
        generator = torch.Generator()
        generator.set_state(saved["generator"].cpu())
        statistics = DensityStatistics(**saved["statistics"])
        if any(len(values) != len(gaussians) for values in saved["statistics"].values()):
            raise ValueError(f"statistics of another number than {len(gaussians)} Gaussians")
        queue = [int(index) for index in saved["queue"]]
        return cls(gaussians, optimizer, statistics, generator, int(saved["iteration"]), float(saved["seconds"]), queue)


def _adam(gaussians: GaussianModel, rates: dict[str, float]) -> torch.optim.Adam:
    """One parameter group per tensor, with its name; the tensors of `gaussians` become parameters."""
    groups = []
    for name in PARAMETERS:
        parameter = nn.Parameter(getattr(gaussians, name).detach().contiguous())
        setattr(gaussians, name, parameter)
        groups.append({"params": [parameter], "lr": rates[name], "name": name})
    return torch.optim.Adam(groups, eps=ADAM_EPS, fused=True)
