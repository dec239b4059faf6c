"""Lifting labels from pixels to Gaussians: blending weights summed over the pixels of every label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from . import _C
from .lifting_cuda import lift_on_cuda
from .memory import Memory, target_for
from .prepared_ops import prepared_fields

LABEL_TYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
SAMPLES = ("all", "centre")


@dataclass(frozen=True)
class LabelWeights:
    """The positive weight sums of one level: a row per (Gaussian, label), sorted by Gaussian, then by label."""

    gaussians: Tensor  # [m] int64, rows of the prepared Gaussians
    labels: Tensor  # [m] int32
    weights: Tensor  # [m] > 0, in pixels: blending weights (at most 1 per pixel) summed over pixels


@dataclass(frozen=True)
class LiftedLabels:
    """Result of `PreparedView.lift`. All tensors are on the view's device; weights have its floating-point type."""

    levels: tuple[LabelWeights, ...]
    labelled: Tensor  # [L, n] summed weight of each Gaussian over pixels with a label, in pixels
    unlabelled: Tensor  # [L, n] the same over pixels without a label


def check_label_maps(label_maps: Tensor, height: int, width: int, device: torch.device) -> None:
    """Raise unless `label_maps` is an integer tensor [L, height, width], L >= 1, on `device`."""
    if not isinstance(label_maps, Tensor):
        raise TypeError(f"label_maps must be a tensor, found {type(label_maps).__name__}.")
    if label_maps.dtype not in LABEL_TYPES:
        raise TypeError(f"label_maps must hold integers, -1 for no label; found {label_maps.dtype}.")
    if label_maps.dim() != 3 or label_maps.shape[0] == 0 or tuple(label_maps.shape[1:]) != (height, width):
        raise ValueError(
            f"label_maps must have shape [L, {height}, {width}], the size of the view, with L at least 1; "
            f"found {list(label_maps.shape)}. Resize labels by nearest neighbour."
        )
    if label_maps.device != device:
        raise ValueError(f"label_maps must be on {device} like the view, found {label_maps.device}.")
    if label_maps.dtype == torch.int64 and label_maps.numel() and int(label_maps.max()) > torch.iinfo(torch.int32).max:
        raise ValueError(f"labels must be below 2^31, found {int(label_maps.max())}.")


def lift_labels(
    view_size: tuple[int, int],
    count: int,
    state: Tensor,
    counts: Tensor,
    kept_weights: Tensor | None,
    label_maps: Tensor,
    samples: str,
    dtype: torch.dtype,
) -> LiftedLabels:
    """`PreparedView.lift` for a view of `view_size` (height, width) and `count` Gaussians."""
    if samples not in SAMPLES:
        raise ValueError(f"samples must be one of {', '.join(map(repr, SAMPLES))}, found {samples!r}.")
    check_label_maps(label_maps, *view_size, state.device)
    # Negative means no label in any type: int64 is clamped before it is cut to 32 bits.
    labels = (label_maps.clamp_min(-1) if label_maps.dtype == torch.int64 else label_maps).to(torch.int32).contiguous()
    prepared = prepared_fields(state, counts, kept_weights)
    if state.is_cuda:
        rows, labelled, unlabelled = lift_on_cuda(prepared, view_size, count, labels, samples == "centre")
        return LiftedLabels(tuple(LabelWeights(*level) for level in rows), labelled, unlabelled)
    levels = len(labels)
    labelled, unlabelled = torch.empty(2, levels, count, dtype=dtype, device="cpu")
    results = Memory(state.device)
    maps = {"levels": levels, "labels": labels, "centres_only": samples == "centre"}
    totals = {"labelled": labelled, "unlabelled": unlabelled}
    rows = _C.lift(target_for(labelled), prepared, maps, totals, results)
    found = []
    for level, m in enumerate(rows):
        blocks = results.tensors[3 * level : 3 * level + 3]
        types = (torch.int64, torch.int32, dtype)
        found.append(LabelWeights(*[b[: m * t.itemsize].view(t) for b, t in zip(blocks, types, strict=True)]))
    return LiftedLabels(tuple(found), labelled, unlabelled)
