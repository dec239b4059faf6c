"""Mask suppression at 200 masks of 1440x1080, ours against a direct double loop over the same definition, in one run.

    python benchmarks/mask_nms.py [masks] [repeats]

Both get the same masks and must keep the same ones. Ours is timed with the cutting of full-frame masks to their boxes,
which stage 1 does anyway, and without. Times are CPU seconds of the process over all its threads, best of the repeats, so
that other work on the machine does not decide the ratio.
"""

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, as the scripts at the root

from features.mask_nms import intersections, mask_nms, thinned
from features.masks import cut_mask

WIDTH, HEIGHT = 1440, 1080


def frames_like_sams(count: int, seed: int = 0) -> np.ndarray:
    """Masks with the sizes and overlaps of SAM's: blobs up to a tenth of the image, many nested or near-duplicates."""
    generator = np.random.default_rng(seed)
    frames = np.zeros((count, HEIGHT, WIDTH), bool)
    for i in range(count):
        if i and generator.random() < 0.25:  # near-duplicate of an earlier mask
            shift = generator.integers(-6, 7, 2)
            frames[i] = np.roll(frames[generator.integers(i)], shift, (0, 1))
            continue
        center = generator.random(2) * (WIDTH, HEIGHT)
        radius = np.exp(generator.uniform(np.log(25), np.log(300)))
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        wobble = 1 + 0.25 * sum(np.sin(k * angles + generator.uniform(0, 7)) / k for k in range(2, 9))
        outline = center + radius * wobble[:, None] * np.stack([np.cos(angles), 0.8 * np.sin(angles)], 1)
        frame = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(frame, [outline.astype(np.int32)], 1)
        frames[i] = frame.astype(bool)
    return frames


def double_loop(frames: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The definition of the suppression, pair by pair over whole frames."""
    order = np.argsort(-scores, kind="stable")
    frames, scores, count = frames[order], scores[order], len(order)
    iou, inside = np.zeros((count, count)), np.zeros((count, count))
    areas = [frame.sum() for frame in frames]
    for i in range(count):
        for j in range(i, count):
            common = np.logical_and(frames[i], frames[j]).sum()
            iou[i, j] = common / np.logical_or(frames[i], frames[j]).sum()
            share_i, share_j = common / areas[i], common / areas[j]
            if share_i < 0.5 and share_j >= 0.85:
                inside[i, j] = 1 - share_i * share_j
            if share_i >= 0.85 and share_j < 0.5:
                inside[j, i] = 1 - share_i * share_j
    kept = np.triu(iou, 1).max(0) <= 0.8
    kept &= (scores > 0.7) & (np.triu(inside, 1).max(0) <= 0.5) & (np.tril(inside, 1).max(0) <= 0.5)
    return order[kept]


def seconds(function, *arguments, repeats: int = 1) -> tuple[float, object]:
    """Minimum CPU time of a call, and its result."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        result = function(*arguments)
        times.append(time.process_time() - begin)
    return min(times), result


def main() -> None:
    """Print one table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    frames = frames_like_sams(count)
    scores = np.random.default_rng(1).uniform(0.6, 1, count)
    loop, expected = seconds(double_loop, frames, scores)
    cutting, masks = seconds(lambda: [cut_mask(frame) for frame in frames], repeats=repeats)
    ours, kept = seconds(mask_nms, masks, scores, repeats=repeats)
    np.testing.assert_array_equal(kept, expected)
    flat = torch.from_numpy(frames.reshape(count, -1))
    gram, product = seconds(lambda: (lambda f: f @ f.T)(flat.float()))
    np.testing.assert_array_equal(intersections(masks), product.numpy())
    fast, _ = seconds(lambda: mask_nms([thinned(mask, 2) for mask in masks], scores), repeats=repeats)

    share = frames.mean() * 100
    print(f"{count} masks of {WIDTH}x{HEIGHT}, {share:.1f} % of the pixels each on average; {len(kept)} kept by all three")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, numpy {np.__version__}; best of {repeats}, loop once\n")
    print(f"{'':44}{'CPU s':>9}{'ratio':>9}")
    rows = [
        ("double loop over full frames", loop),
        ("one product over all pixels (intersections)", gram),
        ("ours, cutting masks to boxes included", cutting + ours),
        ("ours, masks cut by the segmenter", ours),
        ("ours at every second pixel (--preset fast)", fast),
    ]
    for name, value in rows:
        print(f"{name:44}{value:9.3f}{loop / value:8.0f}x")


if __name__ == "__main__":
    main()
