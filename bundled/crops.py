"""Training pictures of the bundled encoder: crops of pieces of generated worlds, cut as in stage 1, and windows of views."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from bundled.captions import Description
from features.graph_segments import graph_segments
from features.masks import cut_crops, cut_mask
from toy_world.compose import World, adjectives, cameras, compose
from toy_world.render import Renderer

CROP = 64  # pixels per side of the crop of a piece
WINDOW = 192  # pixels per side of a window of a view
PATCH = 8
MIN_PIXELS = 80  # smaller pieces are not recognisable
ENTIRE, SCRAP = 0.7, 0.4  # IoU with a part or an object above which a segment counts as complete, below which it is a fragment
SCRAPS_KEPT = 0.4  # share of the many fragments that is kept
SURROUNDINGS = ("table", "floor", "wall", "painting")


@dataclass
class Pieces:
    """Pictures with their descriptions. A patch of a window shows a part and the object that it belongs to."""

    crops: UInt8[np.ndarray, "k 64 64 3"]
    crop_descriptions: list[Description]
    crop_entire: Bool[np.ndarray, " k"]  # false for fragments: a stripe of a mug, a mug with half its neighbour
    crop_worlds: Int[np.ndarray, " k"]  # seed of the world of each crop
    windows: UInt8[np.ndarray, "n 192 192 3"]
    window_parts: Int[np.ndarray, "n 24 24"]  # row of `patch_descriptions`
    patch_descriptions: list[tuple[Description, Description]]  # (part, whole); equal for the main part of an object


def part_description(world: World, part_id: int) -> Description:
    """Description of a part; the unnamed main part of an object has the description of the object."""
    item_index, part = world.parts[part_id]
    item = world.items[item_index]
    if part.name is None or len(item.parts) == 1:
        return item_description(world, item_index)
    whole = adjectives(item.color, item.texture) if item.kind not in SURROUNDINGS else None
    return Description(item.kind, part.name, part.material.color, part.material.texture, whole)


def item_description(world: World, item_index: int) -> Description:
    """Description of a whole object."""
    item = world.items[item_index]
    return Description(item.kind, None, item.color, item.texture)


def masks_of_view(
    world: World, parts: Int[np.ndarray, "h w"], rng: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "h w"], Description]]:
    """Masks such as a segmenter may return: parts, objects, and windows of the large surroundings, dilated or eroded by a
    pixel or two."""
    item_of = np.int32([i for i, _ in world.parts])
    items = item_of[parts]
    found = [(parts == k, part_description(world, int(k))) for k in np.unique(parts)]
    found += [(items == i, item_description(world, int(i))) for i in np.unique(items)]
    for mask, description in found:
        if description.kind in SURROUNDINGS:
            y, x = (int(v) for v in (rng.random(2) * mask.shape))
            h, w = (int(v) for v in rng.integers(60, 400, 2))
            window = np.zeros_like(mask)
            window[max(0, y - h // 2) : y + h // 2, max(0, x - w // 2) : x + w // 2] = True
            mask = mask & window if rng.random() < 0.5 else mask
        shift = int(rng.integers(-2, 3))
        if shift:
            change = cv2.dilate if shift > 0 else cv2.erode
            mask = change(mask.astype(np.uint8), np.ones((2, 2) if abs(shift) == 1 else (3, 3), np.uint8)).astype(bool)
        if mask.sum() >= MIN_PIXELS:
            yield mask, description


def segments_of_view(
    world: World, image: UInt8[np.ndarray, "h w 3"], parts: Int[np.ndarray, "h w"], rng: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "h w"], Description, bool]]:
    """Segments of the graph segmenter, each with the description of the part or object that it overlaps most, and whether it
    covers it entirely. Segments with an IoU between SCRAP and ENTIRE are left out, except pieces of the surroundings."""
    item_of = np.int32([i for i, _ in world.parts])
    items = item_of[parts]
    part_areas, item_areas = (
        np.bincount(parts.ravel(), minlength=len(item_of)),
        np.bincount(items.ravel(), minlength=len(world.items)),
    )
    seen: set[int] = set()
    for ids in graph_segments(image).values():
        areas = np.bincount(ids.ravel())
        for k in np.flatnonzero(areas >= MIN_PIXELS):
            mask = ids == k
            key = hash(mask.tobytes())
            if key in seen:
                continue
            seen.add(key)
            in_parts = np.bincount(parts[mask], minlength=len(part_areas))
            in_items = np.bincount(items[mask], minlength=len(item_areas))
            part, item = int(in_parts.argmax()), int(in_items.argmax())
            of_part, of_item = (
                inside[i] / (areas[k] + whole[i] - inside[i])
                for inside, whole, i in ((in_parts, part_areas, part), (in_items, item_areas, item))
            )
            description = part_description(world, part) if of_part >= of_item else item_description(world, item)
            overlap = max(of_part, of_item)
            surroundings = description.kind in SURROUNDINGS and in_items[item] > 0.9 * areas[k]  # a piece of the table is table
            if overlap > ENTIRE or surroundings or (overlap < SCRAP and rng.random() < SCRAPS_KEPT):
                yield mask, description, bool(overlap > ENTIRE or surroundings)


def world_pieces(seed: int, views: int, width: int = 640, height: int = 480) -> Pieces:
    """Pieces of the world of `seed` in `views` of its cameras."""
    world, rng = compose(seed), np.random.default_rng([seed, 7])
    renderer = Renderer(world, detail=0.5)
    crops, descriptions, entire, windows, window_parts = [], [], [], [], []
    patch_descriptions = [(part_description(world, k), item_description(world, i)) for k, (i, _) in enumerate(world.parts)]
    for camera in rng.choice(np.array(cameras(seed, 60, width, height), object), views, replace=False):
        picture = renderer.render(camera)
        found = [(mask, description, True) for mask, description in masks_of_view(world, picture.parts, rng)]
        found += segments_of_view(world, picture.image, picture.parts, rng)
        crops.append(cut_crops(picture.image, [cut_mask(mask) for mask, _, _ in found], CROP))
        descriptions += [description for _, description, _ in found]
        entire += [whole for _, _, whole in found]
        for _ in range(3):
            y, x = rng.integers(0, height - WINDOW), rng.integers(0, width - WINDOW)
            windows.append(picture.image[y : y + WINDOW, x : x + WINDOW])
            window_parts.append(_majority(picture.parts[y : y + WINDOW, x : x + WINDOW]))
    worlds = np.full(len(descriptions), seed)
    return Pieces(
        np.concatenate(crops),
        descriptions,
        np.array(entire),
        worlds,
        np.stack(windows),
        np.stack(window_parts),
        patch_descriptions,
    )


def _majority(parts: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "r c"]:
    """The part that covers more than half of each patch, -1 where none does."""
    h, w = parts.shape[0] // PATCH, parts.shape[1] // PATCH
    patches = parts.reshape(h, PATCH, w, PATCH).transpose(0, 2, 1, 3).reshape(h * w, -1)
    counts = np.apply_along_axis(np.bincount, 1, patches, minlength=int(parts.max()) + 1)
    best = counts.argmax(1)
    return np.where(counts.max(1) > PATCH * PATCH // 2, best, -1).reshape(h, w).astype(np.int16)


def join(pieces: list[Pieces]) -> Pieces:
    """Pieces of several worlds as one set."""
    offset, parts, descriptions = 0, [], []
    for p in pieces:
        parts.append(np.where(p.window_parts >= 0, p.window_parts + offset, -1))
        descriptions += p.patch_descriptions
        offset += len(p.patch_descriptions)
    return Pieces(
        np.concatenate([p.crops for p in pieces]),
        [description for p in pieces for description in p.crop_descriptions],
        np.concatenate([p.crop_entire for p in pieces]),
        np.concatenate([p.crop_worlds for p in pieces]),
        np.concatenate([p.windows for p in pieces]),
        np.concatenate(parts),
        descriptions,
    )
