"""Mean squared distance of 3D points to their nearest neighbours, on the CPU and on CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from simple_knn.morton import build_box_tree

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["build_record", "mean_squared_distance"]

MAX_NEIGHBOURS_CUDA = 32  # each thread keeps its nearest distances in registers


def build_record() -> dict[str, str]:
    """Build options: `cuda`, the toolkit version, and `architectures`; both empty if built without CUDA."""
    try:
        from simple_knn import _cuda
    except ImportError:
        return {"cuda": "", "architectures": ""}
    return dict(_cuda.build)


def mean_squared_distance(points: Float[Tensor, "n 3"], k: int = 3) -> Float[Tensor, " n"]:
    """Mean squared distance of every point to its k nearest other points, in squared units of `points`.

    The search is exact. A duplicate is a neighbour at distance 0. With fewer than k + 1 points the mean is over all other
    points; a single point has distance 0. Not differentiable. The result is on the device of `points`; on CUDA the
    work is queued on torch's current stream.

    Raises:
        TypeError: `points` is not a float32 tensor.
        ValueError: `points` is not [n, 3], holds NaN or infinity, or k is out of range.
        RuntimeError: `points` are on a GPU and the package was built without CUDA.
    """
    points = _checked(points)
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be a positive number of neighbours, got {k!r}.")
    neighbours = min(k, len(points) - 1)
    if neighbours < 1:
        return points.new_zeros(len(points))
    return (_on_cuda if points.is_cuda else _on_cpu)(points, neighbours)


def _checked(points: Tensor) -> Tensor:
    if not isinstance(points, torch.Tensor):
        raise TypeError(f"points must be a torch.Tensor, got {type(points).__name__}.")
    if points.dtype != torch.float32:
        raise TypeError(f"points must be float32, got {points.dtype}. Convert them with points.float().")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must have shape [n, 3], got {list(points.shape)}.")
    if points.device.type not in ("cpu", "cuda"):
        raise ValueError(f"points must be on the CPU or a CUDA device, got {points.device}.")
    points = points.detach().contiguous()
    finite = points.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise ValueError(f"points must be finite, but points[{row}, {column}] is {points[row, column].item()}.")
    return points


def _on_cpu(points: Tensor, neighbours: int) -> Tensor:
    from scipy.spatial import cKDTree

    tree = cKDTree(points.numpy())
    # The first column is the point itself, or a duplicate, at distance 0.
    distances, _ = tree.query(points.numpy(), k=neighbours + 1, workers=torch.get_num_threads())
    return torch.from_numpy((distances[:, 1:] ** 2).mean(axis=1)).float()


def _on_cuda(points: Tensor, neighbours: int) -> Tensor:
    try:
        from simple_knn import _cuda
    except ImportError:
        raise RuntimeError(
            "points are on a GPU, but simple_knn was built without CUDA. Put nvcc (CUDA 11.8 or later) on PATH and run: "
            "pip install --force-reinstall --no-deps ./submodules/simple-knn; or pass points.cpu()."
        ) from None
    if neighbours > MAX_NEIGHBOURS_CUDA:
        raise ValueError(f"On CUDA k is at most {MAX_NEIGHBOURS_CUDA}, got {neighbours}; pass points.cpu() for more.")
    if len(points) >= 2**31:
        raise ValueError(f"On CUDA there can be at most 2**31 - 1 points, got {len(points)}.")
    with torch.cuda.device(points.device):
        tree = build_box_tree(points)
        result = torch.empty_like(points[:, 0])
        _cuda.mean_squared_distance(
            tree.points.data_ptr(),
            tree.order.data_ptr(),
            tree.boxes.data_ptr(),
            tree.level_sizes,
            len(points),
            neighbours,
            result.data_ptr(),
            points.device.index,
            torch.cuda.current_stream().cuda_stream,
        )
    return result
