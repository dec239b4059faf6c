"""Stopping and continuing: checkpoints (the newest kept, never unpickled), and requests to stop between two iterations."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from workspace.errors import InputError
from workspace.model_folder import ModelFolder
from workspace.owned_files import remove_abandoned
from workspace.tensor_files import load_tensors, save_tensors


def save_checkpoint(model: ModelFolder, stage: str, iteration: int, state: Mapping[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, and lists and dicts of them) and delete the stage's older checkpoints."""
    path = model.checkpoint(stage, iteration)
    remove_abandoned(model.checkpoints)
    save_tensors(path, dict(state))
    for older in model.checkpoint_files(stage):
        if older != path:
            older.unlink(missing_ok=True)  # a second process on the same folder may have been faster
    return path


def load_checkpoint(model: ModelFolder, stage: str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """State of the stage's newest checkpoint with its tensors on the CPU or `device`, or None when there is no checkpoint.

    Raises:
        InputError: the newest checkpoint cannot be read.
    """
    paths = model.checkpoint_files(stage)
    if not paths:
        return None
    expected, remedy = f"the state of an interrupted {stage} run", "Delete it and repeat the command."
    state = load_tensors(paths[-1], expected, remedy, device=device)
    if not isinstance(state, dict):
        raise InputError(f"{paths[-1]} holds a {type(state).__name__}; expected {expected}. {remedy}")
    return state


def delete_checkpoints(model: ModelFolder, stage: str) -> None:
    """Remove every checkpoint of the stage, and partial files of processes that have ended."""
    remove_abandoned(model.checkpoints)
    for path in model.checkpoint_files(stage):
        path.unlink(missing_ok=True)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether the process was asked to stop; a second request stops it at once.

    The loop that asks should save its state and raise KeyboardInterrupt. Outside the main thread, where Python delivers
    no signals, the answer is always no.
    """
    requested = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
