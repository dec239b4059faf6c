"""Exact masks of a toy world, and the same masks as LERF-OVS labels."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Int

LEAST_AREA = 0.0015  # minimum share of the image for a phrase to be labelled; less is a few pixels
LEAST_SHARE = 0.4  # minimum share of its median area over the views; less is mostly occluded


def visible_masks(
    ids: Int[np.ndarray, "h w"], phrases: Mapping[str, list[int]], usual_area: Mapping[str, float]
) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Mask of each phrase whose parts are visible enough to be labelled. `usual_area` is the median over the views, pixels."""
    masks = {}
    for phrase, parts in phrases.items():
        mask = np.isin(ids, parts)
        if mask.sum() >= max(LEAST_AREA * mask.size, LEAST_SHARE * usual_area[phrase]):
            masks[phrase] = mask
    return masks


def polygons(mask: Bool[np.ndarray, "h w"]) -> list[Int[np.ndarray, "k 2"]]:
    """Outlines (x, y) of the mask's connected components; filled including their border they reproduce the mask.

    An outline cannot have holes in this format, so each hole is joined by a cut from the nearest point of the outline.
    Components of one or two pixels have no outline and are omitted.
    """
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = []
    for i, contour in enumerate(contours):
        if hierarchy[0, i, 3] >= 0 or len(contour) < 3:
            continue
        outline = contour[:, 0]
        hole = hierarchy[0, i, 2]
        while hole >= 0:
            outline = _cut_to(outline, contours[hole][:, 0])
            hole = hierarchy[0, hole, 0]
        outlines.append(outline)
    return outlines


def _cut_to(outline: Int[np.ndarray, "k 2"], hole: Int[np.ndarray, "j 2"]) -> Int[np.ndarray, "i 2"]:
    square = ((outline[:, None] - hole[None]) ** 2).sum(2)
    at, start = np.unravel_index(square.argmin(), square.shape)
    around = np.concatenate([hole[start:], hole[: start + 1]])
    return np.concatenate([outline[: at + 1], around, outline[at:]])


def lerf_label(name: str, masks: Mapping[str, Bool[np.ndarray, "h w"]]) -> dict[str, Any]:
    """Label of one image in the LERF-OVS format; the connected components of a mask are objects of one category."""
    objects = []
    height, width = next(iter(masks.values())).shape if masks else (0, 0)
    for phrase, mask in masks.items():
        for group, outline in enumerate(polygons(mask), start=1):
            low, high = outline.min(0), outline.max(0)
            objects.append(
                {
                    "category": phrase,
                    "group": group,
                    "segmentation": outline.astype(float).tolist(),
                    "area": float(cv2.contourArea(outline.astype(np.int32))),
                    "bbox": [*low.astype(float).tolist(), *high.astype(float).tolist()],
                    "iscrowd": 0,
                }
            )
    return {"info": {"name": name, "width": width, "height": height, "depth": 3, "note": ""}, "objects": objects}
