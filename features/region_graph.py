"""Regions of an image as a graph that shrinks as neighbours merge.

The statistics of a region (size, colours, border) and of a border between two regions (length, contrast) are sums over
pixels, so a merge adds them.
"""

import heapq
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, Int32, UInt8

HUES, SHADES = 6, 3  # bins of the colour histogram along a and b, and along L
NUM_FEATURES = 20
BACKGROUND = 0.05  # share of the image from which a region counts as large


class RegionGraph:
    """Region adjacency graph of a label map, with the statistics for scoring merges."""

    def __init__(self, lab: Float32[np.ndarray, "h w 3"], labels: Int32[np.ndarray, "h w"]) -> None:
        """`lab` is CIELAB (L 0 to 100), `labels` run from 0 without gaps."""
        count = int(labels.max()) + 1
        height, width = labels.shape
        self.total = height * width
        flat, pixels = labels.ravel(), lab.reshape(-1, 3)
        self.size = np.bincount(flat, minlength=count).astype(np.float64)
        self.sums = np.stack([np.bincount(flat, pixels[:, c], count) for c in range(3)], 1)
        self.squares = np.stack([np.bincount(flat, pixels[:, c] ** 2, count) for c in range(3)], 1)
        self.histogram = _histograms(pixels, flat, count)
        rows, columns = np.repeat(np.arange(height), width), np.tile(np.arange(width), height)
        self.place = np.stack([np.bincount(flat, columns, count), np.bincount(flat, rows, count)], 1)
        self.box = np.stack(
            [
                _minima(flat, columns, count),
                _minima(flat, rows, count),
                _maxima(flat, columns, count),
                _maxima(flat, rows, count),
            ],
            1,
        )
        frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        self.frame = np.bincount(frame, minlength=count).astype(np.float64)
        self.border = self.frame.copy()  # length of a region's border, including the border of the image
        self.neighbours: list[dict[int, np.ndarray]] = [{} for _ in range(count)]
        self._connect(lab, labels)
        self.parent = np.arange(count)

    def _connect(self, lab: Float32[np.ndarray, "h w 3"], labels: Int32[np.ndarray, "h w"]) -> None:
        # contrast across a border is measured two pixels apart: antialiased borders are two pixels wide
        blurred = cv2.blur(lab, (3, 3))
        pairs, weights = [], []
        for axis in (0, 1):
            a, b = np.take(labels, range(labels.shape[axis] - 1), axis), np.take(labels, range(1, labels.shape[axis]), axis)
            y, x = np.nonzero(a != b)
            before, after = (y, x), (y + (axis == 0), x + (axis == 1))
            first = tuple(np.maximum(v - (2 if axis == k else 0), 0) for k, v in enumerate(before))
            last = tuple(np.minimum(v + (2 if axis == k else 0), labels.shape[k] - 1) for k, v in enumerate(after))
            step = blurred[last] - blurred[first]
            pairs.append(np.stack([a[y, x], b[y, x]], 1))
            shade, hue = np.abs(step[:, 0]), np.hypot(step[:, 1], step[:, 2])
            weights.append(np.stack([np.ones(len(y)), shade, hue, (shade < 6) & (hue < 6)], 1))
        pairs, weights = np.sort(np.concatenate(pairs), axis=1), np.concatenate(weights)
        key, index = np.unique(pairs[:, 0].astype(np.int64) * (1 << 32) + pairs[:, 1], return_inverse=True)
        sums = np.stack([np.bincount(index, weights[:, c]) for c in range(weights.shape[1])], 1)
        for pair, row in zip(key, sums, strict=True):
            i, j = int(pair >> 32), int(pair & 0xFFFFFFFF)
            self.neighbours[i][j] = self.neighbours[j][i] = row
            self.border[i] += row[0]
            self.border[j] += row[0]

    def features(self, i: int, others: list[int]) -> Float32[np.ndarray, "k f"]:
        """Measures of the pairs of `i` with its neighbours `others`, for a merge score; symmetric in the two regions."""
        j = np.array(others)
        shared = np.stack([self.neighbours[i][k] for k in others])
        size, size_j = self.size[i], self.size[j]
        mean, mean_j = self.sums[i] / size, self.sums[j] / size_j[:, None]
        spread = np.sqrt(np.maximum(self.squares[i] / size - mean**2, 0))
        spread_j = np.sqrt(np.maximum(self.squares[j] / size_j[:, None] - mean_j**2, 0))
        histogram, histogram_j = self.histogram[i] / size, self.histogram[j] / size_j[:, None]
        difference = np.abs(mean - mean_j)
        length = shared[:, 0]
        low, high = np.minimum(size, size_j), np.maximum(size, size_j)
        contained = length / self.border[i], length / self.border[j]
        share = np.stack([size / self.total * np.ones(len(j)), size_j / self.total])
        framed = np.stack([self.frame[i] / self.border[i] * np.ones(len(j)), self.frame[j] / self.border[j]])
        box = np.stack([np.minimum(self.box[i, :2], self.box[j, :2]), np.maximum(self.box[i, 2:], self.box[j, 2:])], 1)
        union_box = np.prod(box[:, 1] - box[:, 0] + 1, axis=1)
        centre_gap = self.place[i] / size - self.place[j] / size_j[:, None]
        columns = [
            shared[:, 1] / length / 20,
            shared[:, 2] / length / 20,
            shared[:, 3] / length,
            difference[:, 0] / 20,
            np.hypot(difference[:, 1], difference[:, 2]) / 20,
            np.minimum(histogram, histogram_j).sum(1),
            np.sqrt(histogram * histogram_j).sum(1),
            np.maximum(*contained),
            np.minimum(*contained),
            np.log(low) / 5,
            np.log(high) / 5,
            share.max(0) > BACKGROUND,
            share.min(0) > BACKGROUND,
            framed.max(0),
            framed.min(0),
            np.abs(spread - spread_j)[:, 0] / 10,
            np.hypot(*(spread - spread_j)[:, 1:].T) / 10,
            np.hypot(spread[1], spread[2]) / 20 + np.hypot(spread_j[:, 1], spread_j[:, 2]) / 20,
            (size + size_j) / union_box,
            np.hypot(*centre_gap.T) / np.sqrt(size + size_j) / 2,
        ]
        return np.stack(columns, 1).astype(np.float32)

    def merge(self, i: int, j: int) -> None:
        """Merge region `j` into region `i`."""
        for sums in (self.size, self.sums, self.squares, self.histogram, self.place, self.frame):
            sums[i] += sums[j]
        self.border[i] += self.border[j] - 2 * self.neighbours[i][j][0]
        self.box[i, :2], self.box[i, 2:] = (
            np.minimum(self.box[i, :2], self.box[j, :2]),
            np.maximum(self.box[i, 2:], self.box[j, 2:]),
        )
        del self.neighbours[i][j], self.neighbours[j][i]
        for k, row in self.neighbours[j].items():
            row = row + self.neighbours[i].get(k, 0)
            self.neighbours[i][k] = self.neighbours[k][i] = row
            del self.neighbours[k][j]
        self.neighbours[j] = {}
        self.parent[j] = i

    def merge_while(self, score: Callable[[Float32[np.ndarray, "k f"]], Float32[np.ndarray, " k"]], threshold: float) -> None:
        """Merge the pair with the highest score repeatedly until none scores `threshold` or more."""
        age = np.zeros(len(self.parent), np.int64)
        queue: list[tuple[float, int, int, int, int]] = []

        def push(i: int, others: list[int]) -> None:
            if others:
                for j, value in zip(others, score(self.features(i, others)), strict=True):
                    if value >= threshold:
                        heapq.heappush(queue, (-float(value), i, j, int(age[i]), int(age[j])))

        for i, row in enumerate(self.neighbours):
            push(i, [j for j in row if j > i])
        while queue:
            _, i, j, age_i, age_j = heapq.heappop(queue)
            if age[i] != age_i or age[j] != age_j or self.parent[i] != i or self.parent[j] != j:
                continue
            self.merge(i, j)
            age[i] += 1
            push(i, list(self.neighbours[i]))

    def roots(self) -> Int32[np.ndarray, " r"]:
        """Index of the merged region that holds each initial region, from 0 in the order of the initial ones."""
        root = self.parent.copy()
        while not np.array_equal(root, root[root]):
            root = root[root]
        return np.unique(root, return_inverse=True)[1].astype(np.int32)


def _histograms(pixels: Float32[np.ndarray, "p 3"], labels: Int32[np.ndarray, " p"], count: int) -> np.ndarray:
    shade = np.clip(pixels[:, 0] / 100 * SHADES, 0, SHADES - 1).astype(np.int64)
    hue = np.clip((pixels[:, 1:] + 60) / 120 * HUES, 0, HUES - 1).astype(np.int64)
    bins = (hue[:, 0] * HUES + hue[:, 1]) * SHADES + shade
    size = HUES * HUES * SHADES
    return np.bincount(labels.astype(np.int64) * size + bins, minlength=count * size).reshape(count, size).astype(np.float64)


def _minima(labels: Int32[np.ndarray, " p"], values: np.ndarray, count: int) -> np.ndarray:
    result = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(result, labels, values)
    return result


def _maxima(labels: Int32[np.ndarray, " p"], values: np.ndarray, count: int) -> np.ndarray:
    result = np.zeros(count, np.int64)
    np.maximum.at(result, labels, values)
    return result


def to_lab(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """CIELAB of an RGB image: L 0 to 100, a and b about -100 to 100."""
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
