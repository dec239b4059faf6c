"""What the fuzzer damages: a reader with a small valid input, and helpers that write such inputs."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mutations as m
import numpy as np
import torch
from PIL import Image

WIDTH, HEIGHT = 16, 12
JSON = (*m.BYTES, *[m.json_values] * 8)
ARRAYS = (*m.BYTES, *[m.npy_values] * 8)


@dataclass(frozen=True)
class Target:
    """A reader, the files it reads, and the one of them that is damaged."""

    name: str
    files: dict[str, bytes]
    """By path below the folder that `read` gets."""
    damaged: str
    read: Callable[[Path], object]
    mutations: Sequence[m.Mutation] = m.BYTES


def saved(save: Callable, value: object, **options) -> bytes:
    """What `np.save`, `np.savez` or `torch.save` writes."""
    file = io.BytesIO()
    save(*((value, file) if save is torch.save else (file, value)), **options)
    return file.getvalue()


def picture(form: str, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB", **options) -> bytes:
    """A picture of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()


def folder_files(root: Path) -> dict[str, bytes]:
    """Every file below `root`, by relative path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
