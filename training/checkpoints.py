"""Resumable training states: written whole or not at all, the newest kept, never unpickled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scene.tensor_files import load_tensors, save_tensors
from workspace import InputError, ModelFolder


def save_checkpoint(model: ModelFolder, stage: str, iteration: int, state: Mapping[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, and lists and dicts of them) and delete the stage's older checkpoints."""
    path = model.checkpoint(stage, iteration)
    save_tensors(path, dict(state))
    for older in _checkpoints(model, stage):
        if older != path:
            older.unlink(missing_ok=True)  # a second process on the same folder may have been faster
    return path


def load_checkpoint(model: ModelFolder, stage: str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """State of the stage's newest checkpoint with its tensors on the CPU or `device`, or None when there is no checkpoint.

    Raises:
        InputError: the newest checkpoint cannot be read.
    """
    paths = _checkpoints(model, stage)
    if not paths:
        return None
    expected, remedy = f"the state of an interrupted {stage} run", "Delete it and repeat the command."
    state = load_tensors(paths[-1], expected, remedy, device=device)
    if not isinstance(state, dict):
        raise InputError(f"{paths[-1]} holds a {type(state).__name__}; expected {expected}. {remedy}")
    return state


def delete_checkpoints(model: ModelFolder, stage: str) -> None:
    """Remove every checkpoint of the stage."""
    for path in _checkpoints(model, stage):
        path.unlink(missing_ok=True)


def _checkpoints(model: ModelFolder, stage: str) -> list[Path]:
    """Oldest first: the iteration is zero-padded in the name."""
    return sorted(model.checkpoints.glob(f"{stage}_*.pth"), key=lambda path: int(path.stem.rpartition("_")[2]))
