"""Interrupting and resuming: checkpoints (only the newest is kept, never unpickled), and stop requests between iterations."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

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
            older.unlink(missing_ok=True)  # a second process on the same folder may have deleted it already
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


class Resumable:
    """A loop that can be interrupted and resumed: its state is saved in checkpoints of `stage`.

    `settings` (numbers, strings, lists and dicts) determine the result; a checkpoint with other settings is not resumed.
    """

    def __init__(self, model: ModelFolder, stage: str, settings: Mapping[str, Any]):
        self.model, self.stage, self.settings = model, stage, dict(settings)

    def saved(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """State to continue from with its tensors on `device`, or None.

        Raises:
            InputError: the checkpoint cannot be read, or is of a run with other settings.
        """
        state = load_checkpoint(self.model, self.stage, device)
        if state is not None and state.pop("settings", None) != self.settings:
            raise InputError(
                f"{self.model.checkpoints} holds an interrupted {self.stage} run with other settings. Repeat those, or discard "
                "it with --overwrite, or in train.py with --no-resume."
            )
        return state

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Context in which a state from `saved` is restored; InputError if entries are missing or invalid."""
        try:
            yield
        except torch.cuda.OutOfMemoryError:  # also a RuntimeError, but not caused by the file
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = (str(error).splitlines() or [""])[0][:200]
            raise InputError(
                f"{self.model.checkpoint_files(self.stage)[-1]} does not hold the state of an interrupted {self.stage} run "
                f"({type(error).__name__}: {reason}). Delete it and repeat the command."
            ) from error

    @contextmanager
    def interruptible(self) -> Iterator["Step"]:
        """Yield a function that the loop calls after each step; after a stop request it saves the state and raises
        KeyboardInterrupt."""
        with stop_requests() as stop_requested:
            last = time.monotonic()

            def finished(done: int, state: Callable[[], Mapping[str, Any]], *, due: bool = False, every: float = inf) -> None:
                nonlocal last
                stopping = stop_requested()
                if due or stopping or time.monotonic() - last > every:
                    save_checkpoint(self.model, self.stage, done, {"settings": self.settings, **state()})
                    last = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt

            yield finished


@runtime_checkable
class Step(Protocol):
    """Callback at the end of each step of an interruptible loop."""

    def __call__(self, done: int, state: Callable[[], Mapping[str, Any]], *, due: bool = False, every: float = inf) -> None:
        """Save the state after `done` steps if it is `due` or the last save was more than `every` seconds ago."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether the process was asked to stop; a second request stops it at once.

    The loop that calls it should save its state and raise KeyboardInterrupt. Outside the main thread, where Python delivers
    no signals, it always returns False.
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
