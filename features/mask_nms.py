"""LangSplat's suppression of duplicate masks: by overlap, by containment, by score."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64

from features.masks import Mask

_BLOCK = 1 << 24  # bytes of a block of the membership matrix
_FALLBACK = 3  # masks kept when a criterion would drop all


def mask_nms(
    masks: Sequence[Mask],
    scores: Float[np.ndarray, " m"],
    *,
    iou_threshold: float = 0.8,
    score_threshold: float = 0.7,
    inner_threshold: float = 0.5,
) -> Int64[np.ndarray, " kept"]:
    """Indices of the masks to keep, by descending score; LangSplat's published function.

    In the order of descending score, mask j is dropped when an earlier mask i overlaps it by IoU > `iou_threshold`. Of two
    masks of which one lies inside the other (at least 85 % of one and less than half of the other in common) the inner one is
    dropped when 1 - (common share of i)(common share of j) > 1 - `inner_threshold`. Masks scored `score_threshold` or less
    are dropped.

    Deviates from the published code, which crashes when one of these criteria would drop every mask: the three best
    then pass that criterion.
    """
    if len(masks) == 0:
        return np.zeros(0, np.int64)
    order = np.argsort(-np.asarray(scores), kind="stable")
    scores = np.asarray(scores)[order]
    common = intersections([masks[i] for i in order])
    area = common.diagonal()
    iou = common / (area[:, None] + area[None, :] - common)
    share_row = common / area[:, None]  # [i, j]: part of mask i that mask j covers
    share_column = common / area[None, :]
    # inside[i, j] > 0: mask j lies in mask i
    inside = np.where((share_row < 0.5) & (share_column >= 0.85), 1 - share_row * share_column, 0)
    criteria = (
        np.triu(iou, 1).max(axis=0) <= iou_threshold,
        scores > score_threshold,
        np.triu(inside, 1).max(axis=0) <= 1 - inner_threshold,
        # the first super-diagonal counts here as well, so this criterion alone can drop what is also in the other
        np.tril(inside, 1).max(axis=0) <= 1 - inner_threshold,
    )
    for kept in criteria:
        if not kept.any():
            kept[:_FALLBACK] = True
    return order[np.logical_and.reduce(criteria)].astype(np.int64)


def thinned(mask: Mask, step: int) -> Mask:
    """Every `step`-th pixel of the frame in both directions, for a comparison in 1 / step^2 of the time.

    A segment that contains none of the kept pixels is kept as one pixel.
    """
    y, x = -mask.top % step, -mask.left % step
    pixels = mask.pixels[y::step, x::step]
    left, top = -(-mask.left // step), -(-mask.top // step)
    if pixels.size == 0:
        return Mask(mask.left // step, mask.top // step, np.ones((1, 1), bool))
    return Mask(left, top, pixels if pixels.any() else np.ones((1, 1), bool))


def intersections(masks: Sequence[Mask]) -> Float64[np.ndarray, "m m"]:
    """Number of pixels that each pair of masks has in common; exact.

    Pixels next to each other in a row belong to the same masks except where a mask begins or ends, so a row consists of
    few runs. With A the membership of masks in runs (0 or 1) and l the lengths of the runs, the counts are A diag(l) A^T:
    one matrix product over runs instead of pixels, taken in blocks of bounded memory.
    """
    left = min(mask.left for mask in masks)
    top = min(mask.top for mask in masks)
    width = max(mask.left + mask.pixels.shape[1] for mask in masks) - left
    height = max(mask.top + mask.pixels.shape[0] for mask in masks) - top
    begins = np.zeros((height, width + 1), bool)  # a run begins here
    begins[:, 0] = True
    for x, y, pixels in masks:
        h, w = pixels.shape
        region = begins[y - top : y - top + h, x - left : x - left + w + 1]
        region[:, 0] |= pixels[:, 0]
        region[:, 1:-1] |= pixels[:, 1:] != pixels[:, :-1]
        region[:, -1] |= pixels[:, -1]
    starts = np.flatnonzero(begins[:, :-1])
    lengths = np.diff(starts, append=height * width)  # a row's last run ends where the next row's first begins
    rows, columns = np.divmod(starts, width)
    first_of_row = np.searchsorted(rows, np.arange(height + 1))

    total = np.zeros((len(masks), len(masks)))
    block = max(1, _BLOCK // (4 * len(masks)))
    for begin in range(0, len(starts), block):
        end = min(begin + block, len(starts))
        member = np.zeros((len(masks), end - begin), np.float32)
        for row, (x, y, pixels) in zip(member, masks, strict=True):
            h, w = pixels.shape
            first, last = max(begin, first_of_row[y - top]), min(end, first_of_row[y - top + h])
            if first >= last:
                continue
            column = columns[first:last] - (x - left)
            within = (column >= 0) & (column < w)
            runs = np.flatnonzero(within)
            row[first - begin + runs] = pixels[rows[first + runs] - (y - top), column[runs]]
        # a block covers fewer than 2^24 pixels up to 16 megapixels, so float32 sums of whole numbers are exact
        total += (member * lengths[begin:end].astype(np.float32)) @ member.T
    return total
