"""The neighbours are exact, whatever the points look like, and bad input is named."""

import pytest
import torch
from simple_knn import mean_squared_distance
from simple_knn._C import distCUDA2


def brute_force(points: torch.Tensor, k: int = 3) -> torch.Tensor:
    points = points.double()
    squared = (points[:, None] - points[None]).square().sum(-1)
    squared.fill_diagonal_(torch.inf)
    return squared.sort(dim=1).values[:, : min(k, len(points) - 1)].mean(1)


def cloud(kind: str, n: int = 700) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    points = torch.randn(n, 3, generator=generator)
    if kind == "clusters far apart":
        points = points * 1e-3 + 1e3 * torch.randint(0, 3, (n, 1), generator=generator)
    elif kind == "duplicates":
        points = points[torch.randint(0, max(n // 5, 1), (n,), generator=generator)]
    elif kind == "all equal":
        points = points[:1].repeat(n, 1)
    elif kind == "line":
        points = points * torch.tensor([1.0, 0.0, 0.0])
    elif kind == "one outlier":
        points[0] = 1e6
    return points


KINDS = ["normal", "clusters far apart", "duplicates", "all equal", "line", "one outlier"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3, 7])
def test_matches_brute_force(kind, k):
    points = cloud(kind)
    # float32 holds the result to 6e-8 relative; both sides computed it in double.
    torch.testing.assert_close(mean_squared_distance(points, k), brute_force(points, k).float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_few_points(n):
    points = cloud("normal", 5)[:n]
    expected = brute_force(points).float() if n > 1 else torch.zeros(n)
    torch.testing.assert_close(distCUDA2(points), expected, rtol=1e-6, atol=0)


def test_a_million_points():
    points = torch.rand(1_000_000, 3, generator=torch.Generator().manual_seed(0))
    distances = mean_squared_distance(points)
    some = torch.arange(0, len(points), 100_000)
    squared = (points[some, None].double() - points[None].double()).square().sum(-1)
    expected = squared.topk(4, largest=False).values[:, 1:].mean(1)
    torch.testing.assert_close(distances[some], expected.float(), rtol=1e-6, atol=0)


def test_strided_and_differentiable_points_are_taken():
    points = cloud("normal")
    strided = torch.cat([points, points], dim=1)[:, :3].requires_grad_()
    distances = mean_squared_distance(strided)
    assert not distances.requires_grad
    torch.testing.assert_close(distances, mean_squared_distance(points), rtol=0, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_names_the_first_point_that_is_not_finite(bad):
    points = cloud("normal")
    points[41, 2] = bad
    with pytest.raises(ValueError, match=r"points\[41, 2\]"):
        mean_squared_distance(points)


@pytest.mark.parametrize(
    ("points", "k", "error", "message"),
    [
        (torch.zeros(5, 2), 3, ValueError, r"\[n, 3\].*\[5, 2\]"),
        (torch.zeros(15), 3, ValueError, r"\[n, 3\].*\[15\]"),
        (torch.zeros(5, 3, dtype=torch.float64), 3, TypeError, "float32.*float64"),
        (torch.zeros(5, 3, device="meta"), 3, ValueError, "meta"),
        ([[0.0, 0.0, 0.0]], 3, TypeError, "list"),
        (torch.zeros(5, 3), 0, ValueError, "positive"),
        (torch.zeros(5, 3), 2.5, ValueError, "2.5"),
    ],
)
def test_refuses(points, k, error, message):
    with pytest.raises(error, match=message):
        mean_squared_distance(points, k)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestOnGpu:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("k", [1, 3, 4, 5, 32])
    @pytest.mark.parametrize("n", [2, 31, 32, 33, 1025, 2000])
    def test_matches_brute_force(self, kind, k, n):
        points = cloud(kind, n)
        # float32 differences of coordinates up to 1e3 are exact to 6e-5; the nearest distances here are about 1e-3.
        tolerance = {"rtol": 1e-5, "atol": 0}
        torch.testing.assert_close(mean_squared_distance(points.cuda(), k).cpu(), brute_force(points, k).float(), **tolerance)

    def test_matches_the_cpu_on_many_points_and_another_stream(self):
        points = torch.rand(1_000_000, 3, generator=torch.Generator().manual_seed(0))
        with torch.cuda.stream(torch.cuda.Stream()):
            distances = mean_squared_distance(points.cuda())
            torch.cuda.current_stream().synchronize()
        torch.testing.assert_close(distances.cpu(), mean_squared_distance(points), rtol=1e-5, atol=1e-12)

    @pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
    def test_few_points(self, n):
        points = cloud("normal", 5)[:n]
        torch.testing.assert_close(distCUDA2(points.cuda()).cpu(), distCUDA2(points), rtol=1e-5, atol=0)

    def test_names_the_limit_of_k(self):
        with pytest.raises(ValueError, match="at most 32"):
            mean_squared_distance(cloud("normal").cuda(), 33)
