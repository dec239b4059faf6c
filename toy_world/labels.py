"""Exact masks of a toy world and the same as LERF-OVS labels."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Int

LEAST_AREA = 0.0015  # share of the image a thing must cover to be asked for; less is a few pixels
LEAST_SHARE = 0.4  # of its median area over the views; less is a sliver behind something else


def visible_masks(
    ids: Int[np.ndarray, "h w"], phrases: Mapping[str, list[int]], usual_area: Mapping[str, float]
) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Mask of each phrase whose parts show well enough to be asked for. `usual_area` is in pixels."""
    masks = {}
    for phrase, parts in phrases.items():
        mask = np.isin(ids, parts)
        if mask.sum() >= max(LEAST_AREA * mask.size, LEAST_SHARE * usual_area[phrase]):
            masks[phrase] = mask
    return masks


def polygons(mask: Bool[np.ndarray, "h w"]) -> list[Int[np.ndarray, "k 2"]]:
    """Outlines (x, y) of the mask's pieces; filled with their border they give the mask back.

    One outline holds no holes in this format, so each hole is reached by a cut from the nearest point of the outline.
    Pieces of one or two pixels have no outline and are left out.
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
    """Label of one image in the LERF-OVS format; the pieces of a mask are objects of one category."""
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
