"""Training pictures of the bundled encoder: pieces of generated worlds cut out as stage 1 cuts them, and windows of views."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from bundled.captions import Look
from features.graph_segments import graph_segments
from features.masks import cut_crops, cut_mask
from toy_world.compose import World, adjectives, cameras, compose
from toy_world.render import Renderer

CROP = 64  # pixels per side the encoder sees of a piece
WINDOW = 192  # pixels per side of a window of a view
PATCH = 8
MIN_PIXELS = 80  # smaller pieces show nothing
ENTIRE, SCRAP = 0.7, 0.4  # IoU with a part or a thing above which a segment shows it, below which it is a scrap of it
SCRAPS_KEPT = 0.4  # share of the scraps; there are many
SURROUNDINGS = ("table", "floor", "wall", "painting")


@dataclass
class Pieces:
    """Pictures with what they show. A patch of a window shows a part and the whole it belongs to."""

    crops: UInt8[np.ndarray, "k 64 64 3"]
    crop_looks: list[Look]
    crop_entire: Bool[np.ndarray, " k"]  # false for scraps: a stripe of a mug, a mug with half its neighbour
    crop_worlds: Int[np.ndarray, " k"]  # seed of the world each is from
    windows: UInt8[np.ndarray, "n 192 192 3"]
    window_parts: Int[np.ndarray, "n 24 24"]  # row of `patch_looks`
    patch_looks: list[tuple[Look, Look]]  # (part, whole); the two are equal for the bulk of a thing


def part_look(world: World, part_id: int) -> Look:
    """What a part shows by itself; the nameless bulk of a thing shows the thing."""
    item_index, part = world.parts[part_id]
    item = world.items[item_index]
    if part.name is None or len(item.parts) == 1:
        return item_look(world, item_index)
    whole = adjectives(item.color, item.texture) if item.kind not in SURROUNDINGS else None
    return Look(item.kind, part.name, part.material.color, part.material.texture, whole)


def item_look(world: World, item_index: int) -> Look:
    """What a whole thing shows."""
    item = world.items[item_index]
    return Look(item.kind, None, item.color, item.texture)


def masks_of_view(
    world: World, parts: Int[np.ndarray, "h w"], rng: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "h w"], Look]]:
    """Pieces as a segmenter may find them: parts, wholes, and for the large surroundings bits of them; edges off by a pixel
    or two."""
    item_of = np.int32([i for i, _ in world.parts])
    items = item_of[parts]
    found = [(parts == k, part_look(world, int(k))) for k in np.unique(parts)]
    found += [(items == i, item_look(world, int(i))) for i in np.unique(items)]
    for mask, look in found:
        if look.kind in SURROUNDINGS:
            y, x = (int(v) for v in (rng.random(2) * mask.shape))
            h, w = (int(v) for v in rng.integers(60, 400, 2))
            bit = np.zeros_like(mask)
            bit[max(0, y - h // 2) : y + h // 2, max(0, x - w // 2) : x + w // 2] = True
            mask = mask & bit if rng.random() < 0.5 else mask
        shift = int(rng.integers(-2, 3))
        if shift:
            change = cv2.dilate if shift > 0 else cv2.erode
            mask = change(mask.astype(np.uint8), np.ones((2, 2) if abs(shift) == 1 else (3, 3), np.uint8)).astype(bool)
        if mask.sum() >= MIN_PIXELS:
            yield mask, look


def segments_of_view(
    world: World, image: UInt8[np.ndarray, "h w 3"], parts: Int[np.ndarray, "h w"], rng: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "h w"], Look, bool]]:
    """Pieces as the graph segmenter finds them, with the look of what each mostly shows and whether it shows that entirely.

    Those in between the two are left out."""
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
            look = part_look(world, part) if of_part >= of_item else item_look(world, item)
            overlap = max(of_part, of_item)
            surroundings = look.kind in SURROUNDINGS and in_items[item] > 0.9 * areas[k]  # a bit of the table is table
            if overlap > ENTIRE or surroundings or (overlap < SCRAP and rng.random() < SCRAPS_KEPT):
                yield mask, look, bool(overlap > ENTIRE or surroundings)


def world_pieces(seed: int, views: int, width: int = 640, height: int = 480) -> Pieces:
    """Pieces of the world of `seed` seen from `views` of its cameras."""
    world, rng = compose(seed), np.random.default_rng([seed, 7])
    renderer = Renderer(world, detail=0.5)
    crops, looks, entire, windows, window_parts = [], [], [], [], []
    patch_looks = [(part_look(world, k), item_look(world, i)) for k, (i, _) in enumerate(world.parts)]
    for camera in rng.choice(np.array(cameras(seed, 60, width, height), object), views, replace=False):
        picture = renderer.render(camera)
        found = [(mask, look, True) for mask, look in masks_of_view(world, picture.parts, rng)]
        found += segments_of_view(world, picture.image, picture.parts, rng)
        crops.append(cut_crops(picture.image, [cut_mask(mask) for mask, _, _ in found], CROP))
        looks += [look for _, look, _ in found]
        entire += [whole for _, _, whole in found]
        for _ in range(3):
            y, x = rng.integers(0, height - WINDOW), rng.integers(0, width - WINDOW)
            windows.append(picture.image[y : y + WINDOW, x : x + WINDOW])
            window_parts.append(_majority(picture.parts[y : y + WINDOW, x : x + WINDOW]))
    worlds = np.full(len(looks), seed)
    return Pieces(np.concatenate(crops), looks, np.array(entire), worlds, np.stack(windows), np.stack(window_parts), patch_looks)


def _majority(parts: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "r c"]:
    """The commonest part in every patch, -1 where none has more than half of it."""
    h, w = parts.shape[0] // PATCH, parts.shape[1] // PATCH
    patches = parts.reshape(h, PATCH, w, PATCH).transpose(0, 2, 1, 3).reshape(h * w, -1)
    counts = np.apply_along_axis(np.bincount, 1, patches, minlength=int(parts.max()) + 1)
    best = counts.argmax(1)
    return np.where(counts.max(1) > PATCH * PATCH // 2, best, -1).reshape(h, w).astype(np.int16)


def join(pieces: list[Pieces]) -> Pieces:
    """Pieces of several worlds as one set."""
    offset, parts, looks = 0, [], []
    for p in pieces:
        parts.append(np.where(p.window_parts >= 0, p.window_parts + offset, -1))
        looks += p.patch_looks
        offset += len(p.patch_looks)
    return Pieces(
        np.concatenate([p.crops for p in pieces]),
        [look for p in pieces for look in p.crop_looks],
        np.concatenate([p.crop_entire for p in pieces]),
        np.concatenate([p.crop_worlds for p in pieces]),
        np.concatenate([p.windows for p in pieces]),
        np.concatenate(parts),
        looks,
    )
