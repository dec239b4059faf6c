"""Objects in 3D against exact truth, and removal against the same world without the object, on generated worlds.

    python -m benchmarks.objects [--worlds 0 1 2 3 4] [-o output/objects] [--picture removal.jpg]

Each world is generated, trained (`train.py --preset fast`) and lifted (codebook), and every phrase that names an object or a
part of one is located. True Gaussians come from the exact part maps of the training views. For removal, objects of each world
are located and removed, and the held-out views compared with the world rendered without them. A second run continues the first.
"""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import tyro
from jaxtyping import Bool, Int, UInt8

from evaluation.object_truth import Placed, agreement, part_weights, true_gaussians
from gaussian_renderer import render
from gaussian_renderer.render_photographs import picture_bytes, save_picture
from query.objects.finding import FoundPhrase, InstanceOptions, ObjectFinder
from query.objects.saving import removed_mask
from query.session import Session, SessionConfig
from query.tables import table
from scene.camera import Camera
from toy_world.compose import World, compose
from toy_world.generate import render_views
from toy_world.render import Renderer
from workspace import ModelFolder, SceneFolder, command_line, read_json, write_json
from workspace.image_reader import open_picture
from workspace.slugs import slug

ROOT = Path(__file__).resolve().parents[1]
SURROUNDINGS = ("table", "floor", "wall", "painting")  # kinds
QUARTER = 0.25  # of an object's size: the error of a centre that a gripper or a marker tolerates
FIELD = "lifted"
CROP = 200  # pixels of a side of a picture's cells
MARGIN = 0.25  # of the object's box, around it in a picture


@dataclass(frozen=True)
class ObjectsConfig(InstanceOptions):
    """Which worlds, at which size, and how instances are found."""

    worlds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the generated worlds."""
    width: int = 640
    """Width of the photographs, pixels; the height is three quarters of it."""
    views: int = 72
    """Photographs; every 8th is held out."""
    removed: int = 2
    """Objects removed in each world, spread from the front of the table to its back."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output/objects")
    """Folder for worlds, models and figures."""
    picture: Path | None = None
    """Also write a picture of every removed object: before, after, and the truth."""


def objects(config: ObjectsConfig) -> None:
    """Locate every object of every world and remove some, and print the tables."""
    config.check()
    results = {seed: _world(config, seed) for seed in config.worlds}
    print(f"{_located_table(results)}\n\n{_removal_table(results)}")
    print(f"\n{len(config.worlds)} worlds, {config.width} pixels wide, {config.views} views")
    if config.picture is not None:
        strips = [_folder(config, seed) / row["picture"] for seed, found in results.items() for row in found["removal"]]
        save_picture(config.picture, np.concatenate([_pixels(path) for path in strips]))


def _folder(config: ObjectsConfig, seed: int) -> Path:
    return config.output_path.resolve() / str(seed)


def _world(config: ObjectsConfig, seed: int) -> dict[str, Any]:
    """Figures of one world; those of an earlier run with the same options are read."""
    folder = _folder(config, seed)
    path = folder / "figures.json"
    options = {one.name: getattr(config, one.name) for one in fields(InstanceOptions)} | {"removed": config.removed}
    if path.exists() and (kept := read_json(path))["options"] == options:
        return kept
    model = trained(folder, seed, config.width, config.views)
    session = Session.open(SessionConfig(field=FIELD), model)
    world = compose(seed)
    truth = truth_of(session, world)
    question = session.question(list(truth))
    finder = ObjectFinder(session.field)
    found = {answer.phrase: answer for answer in finder.find(question, config)}
    write_json(path, {"options": options, "located": _rows(session, world, truth, found), "removal": []})
    known, means = finder.known, session.field.trained.gaussians.means.cpu().numpy()
    removal = []
    for phrase in _chosen(world, truth, config.removed):
        masks = {"after": removed_mask(found[phrase], known, means), "oracle": truth[phrase]}
        removal.append(_removed(session, world, phrase, masks, folder))
    result = {**read_json(path), "removal": removal}
    write_json(path, result)
    return result


def trained(folder: Path, seed: int, width: int, views: int) -> ModelFolder:
    """World, Gaussians and lifted field below `folder`; what is finished is left as it is."""
    scene, model = folder / "scene", folder / "model"
    s, m = shlex.quote(str(scene)), shlex.quote(str(model))
    _run(f"-m toy_world -s {s} --seed {seed} --width {width} --height {width * 3 // 4} --views {views}")
    _run(f"preprocess.py -s {s} --features mini")
    _run(f"train.py -s {s} -m {m} --eval --preset fast")
    _run(f"train_autoencoder.py -s {s} -m {m} --method codebook --field {FIELD}")
    _run(f"train.py -s {s} -m {m} --include_feature --field {FIELD}")
    return ModelFolder(model, FIELD)


def _run(command: str) -> None:
    """One command of the pipeline, its output shown only when it fails."""
    done = subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"python {command}\n{done.stdout}{done.stderr}")


def truth_of(session: Session, world: World) -> dict[str, Bool[np.ndarray, " n"]]:
    """True Gaussians of every phrase for an object or a part of one, where it has some: it may be hidden in every view."""

    def kind(ids: Sequence[int]) -> str:
        return world.items[world.parts[ids[0]][0]].kind

    phrases = {phrase: ids for phrase, ids in world.phrases().items() if kind(ids) not in SURROUNDINGS}
    weights = part_weights(
        session.field.trained.gaussians, session.scene.train, partial(_parts, session.scene.folder), len(world.parts)
    )
    return {phrase: mask for phrase, mask in true_gaussians(weights, phrases).items() if mask.any()}


def _rows(
    session: Session, world: World, truth: Mapping[str, Bool[np.ndarray, " n"]], found: Mapping[str, FoundPhrase]
) -> list[dict[str, Any]]:
    """Agreement of every phrase, and the control: its instances judged by the truth of the other phrases of its kind."""
    gaussians = session.field.trained.gaussians
    means, opacities = gaussians.means.cpu().numpy(), gaussians.opacities.cpu().numpy()
    whole = [item.phrase for item in world.items[: world.num_objects]]
    rows = []
    for phrase, mask in truth.items():
        kind = "object" if phrase in whole else "part"
        instances = found[phrase].instances
        others = [other for name, other in truth.items() if name != phrase and (name in whole) == (kind == "object")]
        control = [agreement(instances, other, means, opacities) for other in others]
        rows.append(
            {
                "phrase": phrase,
                "kind": kind,
                "level": found[phrase].level,
                "gaussians": int(mask.sum()),
                "size": Placed.of(means[mask], opacities[mask]).size,
                **asdict(agreement(instances, mask, means, opacities)),
                "control_iou": fmean([one.iou for one in control] or [0.0]),
                "control_near": fmean([near(one.center_error) for one in control] or [0.0]),
            }
        )
    return rows


def near(center_error: float | None) -> bool:
    """Whether a centre is within a quarter of the object's size of the true one."""
    return center_error is not None and center_error <= QUARTER


def _chosen(world: World, truth: Mapping[str, Bool[np.ndarray, " n"]], count: int) -> list[str]:
    """Objects spread over the list, which goes from the front of the table to its back."""
    names = [item.phrase for item in world.items[: world.num_objects] if item.phrase in truth]
    return [names[i] for i in np.linspace(0, len(names) - 1, count + 2)[1:-1].round().astype(int)] if count else []


@torch.inference_mode()
def _removed(
    session: Session, world: World, phrase: str, removals: Mapping[str, Bool[np.ndarray, " n"]], folder: Path
) -> dict[str, Any]:
    """PSNR in the pixels of an object against the world without it, in the held-out views that show it.

    `before`: nothing removed. `after`, `oracle`: without those `removals`. `around`: outside the object's pixels, the pictures
    before and after against each other.
    """
    model, ids = session.field.trained, world.phrases()[phrase]
    masks = {camera.name: np.isin(_parts(session.scene.folder, camera), ids) for camera in session.scene.test}
    cameras = [camera for camera in session.scene.test if masks[camera.name].any()]
    empty = render_views(Renderer(world.without(phrase), detail=min(1.0, cameras[0].width / 640)), cameras)
    kept = {
        name: model.gaussians.subset(torch.from_numpy(~gone).to(model.gaussians.means.device)) for name, gone in removals.items()
    }
    drawn = {"before": model.gaussians, **kept}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in (*drawn, "around")}
    largest = max(cameras, key=lambda camera: int(masks[camera.name].sum()))
    for camera in cameras:
        mask, true = masks[camera.name], empty[camera.name].image
        pictures = {name: picture_bytes(render(camera, each, model.background).image) for name, each in drawn.items()}
        for name, picture in pictures.items():
            errors[name].append(_difference(picture, true)[mask])
        errors["around"].append(_difference(pictures["after"], pictures["before"])[~mask])
        if camera is largest:
            save_picture(folder / _picture(phrase), _strip([pictures["before"], pictures["after"], true], mask))
    figures = {name: _psnr(np.concatenate(found)) for name, found in errors.items()}
    count = int(removals["after"].sum())
    return {"phrase": phrase, "views": len(cameras), "gaussians": count, **figures, "picture": _picture(phrase)}


def _picture(phrase: str) -> str:
    return f"removed_{slug(phrase)}.png"


def _difference(one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    return one.astype(np.float64) - other


def _parts(scene: SceneFolder, camera: Camera) -> Int[np.ndarray, "h w"]:
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
    return np.concatenate([cv2.warpAffine(one, move, (CROP, CROP), flags=cv2.INTER_AREA) for one in pictures], 1)


def _pixels(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    with open_picture(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _located_table(results: Mapping[int, Mapping[str, Any]]) -> str:
    """One line for each world and kind of phrase, and one for all worlds; errors are medians over the located phrases."""
    lines = []
    for kind in ("object", "part"):
        groups = {str(seed): [row for row in found["located"] if row["kind"] == kind] for seed, found in results.items()}
        groups["all"] = [row for rows in groups.values() for row in rows]
        lines += [[f"{kind}s, {name}", *_located_cells(rows)] for name, rows in groups.items() if rows]
    selection = ["precision", "recall", "IoU", "control IoU", "centre within 1/4", "control"]
    return table(["world", "asked", "found", "missed", "split", "extra", *selection, "centre error", "box error"], lines)


def _located_cells(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    hits = [row["hits"] for row in rows]
    counts = [len(rows), sum(h > 0 for h in hits), hits.count(0), sum(h > 1 for h in hits), sum(row["extra"] for row in rows)]
    shares = [fmean(row[name] for row in rows) for name in ("precision", "recall", "iou", "control_iou")]
    shares += [fmean(near(row["center_error"]) for row in rows), fmean(row["control_near"] for row in rows)]
    errors = [[row[name] for row in rows if row[name] is not None] for name in ("center_error", "box_error")]
    shares += [median(found) if found else float("nan") for found in errors]
    return [*map(str, counts), *(f"{share:.3f}" for share in shares)]


def _removal_table(results: Mapping[int, Mapping[str, Any]]) -> str:
    """One line for each removed object, and the means; dB."""
    rows = [(str(seed), row) for seed, found in results.items() for row in found["removal"]]
    names = ("before", "after", "oracle", "around")
    lines = [
        [seed, row["phrase"], str(row["views"]), str(row["gaussians"]), *(f"{row[name]:.1f}" for name in names)]
        for seed, row in rows
    ]
    if rows:
        lines.append(["all", "", "", "", *(f"{fmean(row[name] for _, row in rows):.1f}" for name in names)])
    return table(["world", "removed", "views", "Gaussians", "before", "after", "after, true Gaussians", "elsewhere"], lines)


if __name__ == "__main__":
    command_line.run(objects, ObjectsConfig)
