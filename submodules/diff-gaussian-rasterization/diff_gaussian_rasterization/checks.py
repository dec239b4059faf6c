"""Input validation. The compiled code works on raw pointers and relies on the shapes, types and devices checked here."""

import math
from collections.abc import Sequence
from typing import SupportsFloat

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64)


def check_tensor(name: str, tensor: Tensor, shape: Sequence[int | str], like: Tensor | None = None) -> None:
    """Raise unless `tensor` is a float tensor of `shape` (a string stands for any length) with `like`'s type and device."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, found {type(tensor).__name__}.")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, found {tensor.layout}.")
    if tensor.is_neg():
        raise TypeError(f"{name} is a view whose sign torch has yet to flip; pass {name}.resolve_neg().")
    if not _has_shape(tensor.shape, shape):
        raise ValueError(f"{name} must have shape [{', '.join(map(str, shape))}], found {list(tensor.shape)}.")
    if like is None:
        if tensor.dtype not in DTYPES:
            raise TypeError(f"{name} must be float32 (or float64 on the CPU), found {tensor.dtype}.")
        if not (tensor.is_cpu or tensor.is_cuda):
            raise ValueError(f"{name} must be on the CPU or on CUDA, found {tensor.device}.")
        if tensor.is_cuda and tensor.dtype != torch.float32:
            raise TypeError(f"{name} must be float32 on CUDA, found {tensor.dtype}.")
        return
    if tensor.dtype != like.dtype:
        raise TypeError(f"{name} must be {like.dtype} like means, found {tensor.dtype}.")
    if tensor.device != like.device:
        raise ValueError(f"{name} must be on {like.device} like means, found {tensor.device}.")


def _has_shape(found: Sequence[int], shape: Sequence[int | str]) -> bool:
    if len(found) != len(shape):
        return False
    for size, expected in zip(found, shape, strict=True):  # noqa: SIM110 - all() takes as long as the whole loop
        if size != expected and not isinstance(expected, str):
            return False
    return True


def is_number(value: object) -> bool:
    """Whether `float(value)` is defined for a number or one-element tensor; not for text."""
    return isinstance(value, (float, int)) or isinstance(value, SupportsFloat)  # the protocol takes 5 us, more than a check


def checked_scale_modifier(value: object) -> float:
    """`value` as a float; TypeError or ValueError unless it is a finite number >= 0."""
    if not is_number(value):
        raise TypeError(f"scale_modifier must be a number, found {type(value).__name__}.")
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"scale_modifier must be finite and not negative, found {number}.")
    return number


def check_shape_source(scales: object, rotations: object, covariances: object) -> None:
    """Raise unless exactly one of (scales and rotations) and covariances is given."""
    if covariances is None and (scales is None or rotations is None):
        missing = "scales" if scales is None else "rotations"
        raise ValueError(f"{missing} is missing: give scales and rotations, or covariances.")
    if covariances is not None and (scales is not None or rotations is not None):
        raise ValueError("both scales/rotations and covariances are given: give one of them.")


def check_gaussians(
    means: Tensor, scales: Tensor | None, rotations: Tensor | None, covariances: Tensor | None, opacities: Tensor
) -> None:
    """Raise unless the tensors describe n Gaussians of one type on one device."""
    check_shape_source(scales, rotations, covariances)
    check_tensor("means", means, ("n", 3))
    n = means.shape[0]
    if covariances is None:
        check_tensor("scales", scales, (n, 3), means)
        check_tensor("rotations", rotations, (n, 4), means)
    else:
        check_tensor("covariances", covariances, (n, 6), means)
    check_tensor("opacities", opacities, (n,), means)


def check_features(features: Tensor, background: Tensor | None, n: int, like: Tensor) -> None:
    """Raise unless `features` is [n, D] with D >= 1 and `background`, when given, is [D]."""
    check_tensor("features", features, (n, "D"), like)
    if features.shape[1] == 0:
        raise ValueError("features must have at least one channel, found shape " + str(list(features.shape)) + ".")
    if background is not None:
        check_tensor("background", background, (features.shape[1],), like)
