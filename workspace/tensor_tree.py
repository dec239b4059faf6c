"""Limits on the content of a PyTorch file: dense tensors stored in the file, in containers of bounded size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MOST_ENTRIES = 10_000_000  # of all containers; a shared one counts once per occurrence
SHARED = 2  # maximum bytes of all tensors as a multiple of the file size; tied weights occur twice


class Unsound(Exception):  # noqa: N818 - it becomes the middle of a sentence
    """The content of a file is not accepted; the text is a verb phrase for a message."""


def copied(content: Any, size: int, device: torch.device | str) -> Any:
    """`content` with every tensor copied to `device`, detached from the file it may be mapped from.

    Args:
        content: what torch read from a file: tensors in dicts, lists, tuples and sets.
        size: bytes of that file.
        device: where the copies go.

    Raises:
        Unsound: a tensor is sparse, quantised, nested or without data, tensors or containers hold more than a file of
            `size` bytes can, or a container contains itself.
    """
    entries, tensors = _measure(content, {})
    if entries > MOST_ENTRIES:
        raise Unsound(f"declares {entries} entries")
    if tensors > SHARED * size:
        raise Unsound(f"declares {tensors / 1e6:.1f} MB of numbers")
    return _copy(content, device, {})


def _measure(value: Any, seen: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Number of container entries and bytes of tensors; shared objects count once per occurrence."""
    if isinstance(value, Tensor):
        return 1, _bytes(value)
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return 1, 0
    if id(value) in seen:
        known = seen[id(value)]
        if known is None:
            raise Unsound("holds a container that contains itself")
        return known
    seen[id(value)] = None
    items = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    parts = [_measure(item, seen) for item in items]
    seen[id(value)] = total = (1 + sum(entries for entries, _ in parts), sum(tensors for _, tensors in parts))
    return total


def _bytes(tensor: Tensor) -> int:
    kind = None
    if tensor.layout != torch.strided:
        kind = "sparse"
    elif tensor.is_nested:
        kind = "nested"
    elif tensor.is_quantized:
        kind = "quantised"
    elif tensor.is_meta:
        kind = "meta"
    if kind:
        raise Unsound(f"holds a {kind} tensor {list(tensor.shape)}; only dense ones are read")
    return tensor.numel() * tensor.element_size()


def _copy(value: Any, device: torch.device | str, done: dict[int, Any]) -> Any:
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Tensor):
        result: Any = value.detach().to(device, copy=True, memory_format=torch.contiguous_format)
    elif isinstance(value, Mapping):
        result = {key: _copy(item, device, done) for key, item in value.items()}
    elif type(value) in (list, tuple, set, frozenset):
        result = type(value)(_copy(item, device, done) for item in value)
    else:  # numbers, strings, and torch.Size, a tuple of numbers
        return value
    done[id(value)] = result
    return result
