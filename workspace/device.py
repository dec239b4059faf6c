"""Choice of the torch device: the one the user asked for, or the GPU if there is one."""

from typing import Literal

import torch

from workspace.errors import InputError

Device = Literal["auto", "cpu", "cuda"]


def chosen_device(name: Device) -> torch.device:
    """The device given by `--device`; `auto` selects the GPU if there is one.

    Raises:
        InputError: `cuda` where torch finds no GPU.
    """
    gpu = torch.cuda.is_available()
    if name == "cuda" and not gpu:
        raise InputError("--device cuda: torch finds no CUDA device. Use --device auto; python doctor.py tells what is missing.")
    return torch.device("cuda" if gpu and name != "cpu" else "cpu")
