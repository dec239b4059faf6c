"""Direct implementation of the published evaluator of one view: the baseline of `benchmarks.query`."""

import cv2
import numpy as np
import torch

from autoencoder.network import Autoencoder
from query.answer_rule import answer
from query.field import FieldView
from query.question import Question


def relevancy_maps(codes: torch.Tensor, compressor: Autoencoder, question: Question) -> np.ndarray:
    """[phrases, levels, height, width]: every pixel decoded, then the minimum over the negatives of the pairwise softmax.

    One level is decoded at a time: three of 1440x1080 would take 9.6 GB.
    """
    levels, channels, height, width = codes.shape
    maps = np.empty((len(question.phrases), levels, height, width), np.float32)
    for level in range(levels):
        with torch.inference_mode():
            pixels = compressor.decode(codes[level].reshape(channels, -1).T)
        for phrase in range(len(question.phrases)):
            similarity = pixels @ torch.cat([question.embeddings[phrase : phrase + 1], question.negatives.embeddings]).T
            pairs = [torch.softmax(10 * similarity[:, [0, k]], -1)[:, 0] for k in range(1, similarity.shape[1])]
            maps[phrase, level] = torch.stack(pairs).min(0).values.reshape(height, width).cpu().numpy()
    return maps


def answer_maps(maps: np.ndarray) -> tuple[int, np.ndarray, int, tuple[int, int]]:
    """Level, mask, level of the point, point (x, y): every level masked, by loops over the pixels."""
    kernel = np.full((30, 30), 1 / 900)
    means = [cv2.filter2D(level, -1, kernel) for level in maps]
    masks, peaks = [], []
    for level, mean in zip(maps, means, strict=True):
        smoothed = 0.5 * (level + mean)
        shifted = smoothed - smoothed.min()
        stretched = np.clip(2 * (shifted / (shifted.max() + 1e-9)) - 1, 0, 1)
        masks.append(majority((stretched > 0.4).astype(np.uint8)))
        peaks.append(smoothed.max())
    level = int(np.argmax(peaks))
    point_level = int(np.argmax([mean.max() for mean in means]))
    y, x = np.unravel_index(means[point_level].argmax(), means[point_level].shape)
    return level, masks[level].astype(bool), point_level, (int(x), int(y))


def majority(mask: np.ndarray) -> np.ndarray:
    """Windows of 7x7 cut at the last row and column, the value with the larger count."""
    height, width = mask.shape
    smooth = mask.copy()
    for i in range(height):
        for j in range(width):
            window = mask[max(0, i - 3) : min(i + 4, height - 1), max(0, j - 3) : min(j + 4, width - 1)]
            smooth[i, j] = np.argmax(np.bincount(window.reshape(-1)))
    return smooth


def check(question: Question, view: FieldView) -> None:
    """Check that our answer to the first phrase equals that of the published loops; SystemExit otherwise.

    float32 rounding may flip pixels at the threshold: the relevancy of a random scene has a small range, and
    rescaling it amplifies the rounding.
    """
    level, mask, point_level, _ = answer_maps(relevancy_maps(view.codes, question.field.compressor, question)[0])
    found = answer(question.relevancy(view)[:, 0])
    differing = int((found.mask.cpu().numpy() != mask).sum())
    if (found.level, found.point_level) != (level, point_level) or differing > 1e-3 * mask.size:
        raise SystemExit(
            f"Not the published answer: levels {found.level}, {found.point_level} against {level}, {point_level}; "
            f"{differing} of {mask.size} mask pixels differ."
        )
