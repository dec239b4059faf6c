"""The two window filters of the published evaluator, at a cost that does not depend on the window."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def box_mean(maps: Float[Tensor, "*maps h w"], size: int = 30) -> Float[Tensor, "*maps h w"]:
    """Mean over a `size` x `size` window, equal to OpenCV's `filter2D` with its default anchor and border.

    The window of pixel x covers [x - size // 2, x - size // 2 + size); outside the image it reads the reflection that
    does not repeat the edge pixel.
    """
    return _running_mean(_running_mean(maps, size, -1), size, -2)


def _running_mean(maps: Tensor, size: int, axis: int) -> Tensor:
    length = maps.shape[axis]
    period = max(2 * (length - 1), 1)
    positions = torch.arange(-(size // 2), length + size - size // 2 - 1, device=maps.device) % period
    reflected = torch.where(positions < length, positions, period - positions)
    # float64: a float32 running sum over a thousand pixels loses the digits that decide a maximum.
    total = maps.index_select(axis, reflected).cumsum(axis, dtype=torch.float64)
    sums = total.narrow(axis, size - 1, length).clone()
    sums.narrow(axis, 1, length - 1).sub_(total.narrow(axis, 0, length - 1))
    return sums.div_(size).to(maps.dtype)


def majority(masks: Bool[Tensor, "*masks h w"]) -> Bool[Tensor, "*masks h w"]:
    """Majority vote over 7x7 windows; ties are false.

    Windows are cut at the image as the published loops cut them: the last row and the last column belong to no window.
    """
    counts, rows = _window_sum(masks.to(torch.int32), -2)
    counts, columns = _window_sum(counts, -1)
    return 2 * counts > rows[:, None] * columns


def _window_sum(values: Tensor, axis: int, radius: int = 3) -> tuple[Tensor, Tensor]:
    """Sums over the windows [i - radius, i + radius + 1) cut to [0, length - 1), and the sizes of those windows."""
    length = values.shape[axis]
    centres = torch.arange(length, device=values.device)
    first = (centres - radius).clamp(min=0, max=length - 1)
    last = (centres + radius + 1).clamp(max=length - 1)
    total = torch.nn.functional.pad(values.movedim(axis, -1), (1, 0)).cumsum(-1, dtype=torch.int32)
    return (total[..., last] - total[..., first]).movedim(-1, axis), last - first
