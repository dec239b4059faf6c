"""What removing an object leaves: pictures without it against the same generated world rendered without it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8

from gaussian_renderer import prepare_view, render
from gaussian_renderer.render_photographs import picture_bytes, save_picture
from query.session import Session
from query.tables import table
from scene.camera import Camera
from toy_world.compose import World
from toy_world.generate import render_views
from workspace import SceneFolder
from workspace.image_reader import open_picture
from workspace.slugs import slug

CROP = 200  # pixels of a side of a picture's cells
GAP = 6  # pixels of white between them
MARGIN = 0.25  # of the object's box, around it in a picture


def chosen(world: World, truth: Mapping[str, Bool[np.ndarray, " n"]], count: int) -> list[str]:
    """Objects spread over the list, which goes from the front of the table to its back."""
    names = [item.phrase for item in world.items[: world.num_objects] if item.phrase in truth]
    return [names[i] for i in np.linspace(0, len(names) - 1, count + 2)[1:-1].round().astype(int)] if count else []


@torch.inference_mode()
def removed(
    session: Session,
    world: World,
    phrase: str,
    removals: Mapping[str, Bool[np.ndarray, " n"]],
    truth: Bool[np.ndarray, " n"],
    folder: Path,
) -> dict[str, Any]:
    """What removing an object leaves in its pixels, in the held-out views that show it.

    PSNR against the world without the object: `before`, nothing removed; `after` and `oracle`, without those `removals`.
    `around`: outside the object's pixels, the pictures before and after against each other. Shares of the object's pixels
    after removal: `ghost` is drawn by its true Gaussians, `hole` by none.
    """
    model, ids = session.field.trained, world.phrases()[phrase]
    masks = {camera.name: np.isin(part_map(session.scene.folder, camera), ids) for camera in session.scene.test}
    cameras = [camera for camera in session.scene.test if masks[camera.name].any()]
    empty = render_views(world.without(phrase), cameras)
    kept = {
        name: model.gaussians.subset(torch.from_numpy(~gone).to(model.gaussians.means.device)) for name, gone in removals.items()
    }
    drawn = {"before": model.gaussians, **kept}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in (*drawn, "around")}
    left = {"ghost": [], "hole": []}
    of_object = torch.from_numpy(truth[~removals["after"]]).to(kept["after"].means).unsqueeze(1)
    largest = max(cameras, key=lambda camera: int(masks[camera.name].sum()))
    for camera in cameras:
        mask, true = masks[camera.name], empty[camera.name].image
        pictures = {name: picture_bytes(render(camera, each, model.background).image) for name, each in drawn.items()}
        for name, picture in pictures.items():
            errors[name].append(_difference(picture, true)[mask])
        errors["around"].append(_difference(pictures["after"], pictures["before"])[~mask])
        remaining = prepare_view(camera, kept["after"]).rasterize(of_object)
        inside = torch.from_numpy(mask).to(remaining.image.device)
        left["ghost"].append(remaining.image[0][inside].cpu().numpy())
        left["hole"].append(1 - remaining.alpha[inside].cpu().numpy())
        if camera is largest:
            save_picture(folder / _picture(phrase), _strip([pictures["before"], pictures["after"], true], mask))
    figures = {name: _psnr(np.concatenate(found)) for name, found in errors.items()}
    figures |= {name: float(np.concatenate(found).mean()) for name, found in left.items()}
    count = int(removals["after"].sum())
    return {"phrase": phrase, "views": len(cameras), "gaussians": count, **figures, "picture": _picture(phrase)}


def _picture(phrase: str) -> str:
    return f"removed_{slug(phrase)}.png"


def _difference(one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    return one.astype(np.float64) - other


def part_map(scene: SceneFolder, camera: Camera) -> Int[np.ndarray, "h w"]:
    """Exact part id at every pixel of a view."""
    with open_picture(scene.part_ids / f"{camera.name}.png") as picture:
        return np.asarray(picture).astype(np.int64)


def _psnr(errors: np.ndarray) -> float:
    """PSNR of differences of 8-bit pixels, dB; at most 99."""
    return float(min(99.0, -10 * np.log10(max(float(np.square(errors / 255).mean()), 1e-12))))


def _strip(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Square crops around the object, side by side."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    half = max(np.ptp(rows), np.ptp(columns)) * (0.5 + MARGIN) + 1
    center = np.float32([(columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2])
    scale = CROP / (2 * half)
    move = np.float32([[scale, 0, CROP / 2 - scale * center[0]], [0, scale, CROP / 2 - scale * center[1]]])
    cells = [cv2.warpAffine(one, move, (CROP, CROP), flags=cv2.INTER_AREA) for one in pictures]
    return np.concatenate([np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for cell in cells], 1)


def pixels_of(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Pixels of a picture file."""
    with open_picture(path) as picture:
        return np.asarray(picture.convert("RGB"))


def in_two_columns(strips: Sequence[UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "hh ww 3"]:
    """One picture of all strips, the first half of them in the left column; white where an odd one is missing."""
    rows = -(-len(strips) // 2)
    cells = [*strips, *[np.full_like(strips[0], 255)] * (2 * rows - len(strips))]
    columns = [np.concatenate(cells[:rows]), np.concatenate(cells[rows:])]
    return np.concatenate([columns[0], np.full((len(columns[0]), 3 * GAP, 3), 255, np.uint8), columns[1]], 1)


def removal_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """One line for each removed object and its world, and the means; dB and shares."""
    digits = {"before": 1, "after": 1, "oracle": 1, "around": 1, "ghost": 2, "hole": 2}

    def cells(figures: Mapping[str, float]) -> list[str]:
        return [f"{figures[name]:.{count}f}" for name, count in digits.items()]

    lines = [[seed, row["phrase"], str(row["views"]), str(row["gaussians"]), *cells(row)] for seed, row in rows]
    if rows:
        lines.append(["all", "", "", "", *cells({name: fmean(row[name] for _, row in rows) for name in digits})])
    heading = ["world", "removed", "views", "Gaussians", "before", "after", "after, true Gaussians", "elsewhere", "ghost", "hole"]
    return table(heading, lines)
