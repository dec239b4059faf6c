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

import numpy as np
import tyro
from jaxtyping import Bool

from benchmarks.object_removal import chosen, in_two_columns, part_map, pixels_of, removal_table, removed
from evaluation.object_truth import Placed, agreement, part_weights, true_gaussians
from gaussian_renderer.render_photographs import save_picture
from query.objects.finding import FoundPhrase, InstanceOptions, ObjectFinder
from query.objects.saving import removed_mask
from query.session import Session, SessionConfig
from query.tables import table
from toy_world.compose import World, compose
from workspace import ModelFolder, command_line, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
SURROUNDINGS = ("table", "floor", "wall", "painting")  # kinds
OTHER = 100  # between the seeds of a world and of the one that absent phrases are from
QUARTER = 0.25  # of an object's size: the error of a centre that a gripper or a marker tolerates
FIELD = "lifted"


@dataclass(frozen=True)
class ObjectsConfig(InstanceOptions):
    """Which worlds, at which size, and how instances are found."""

    worlds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the generated worlds."""
    width: int = 640
    """Width of the photographs, pixels; the height is three quarters of it."""
    views: int = 72
    """Photographs; every 8th is held out."""
    iterations: int | None = None
    """Of the Gaussians; those of `train.py --preset fast` when not given."""
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
    absent = [count for found in results.values() for count in found["absent"]]
    print(f"{_located_table(results)}\n")
    print(f"phrases of things that are not there: {len(absent)}, answered all the same: {sum(map(bool, absent))}\n")
    print(removal_table([(str(seed), row) for seed, found in results.items() for row in found["removal"]]))
    print(f"\n{len(config.worlds)} worlds, {config.width} pixels wide, {config.views} views")
    if config.picture is not None:
        strips = [_folder(config, seed) / row["picture"] for seed, found in results.items() for row in found["removal"]]
        save_picture(config.picture, in_two_columns([pixels_of(path) for path in strips]))


def _folder(config: ObjectsConfig, seed: int) -> Path:
    return config.output_path.resolve() / str(seed)


def _world(config: ObjectsConfig, seed: int) -> dict[str, Any]:
    """Figures of one world; those of an earlier run with the same options are read."""
    folder = _folder(config, seed)
    path = folder / "figures.json"
    names = [*(one.name for one in fields(InstanceOptions)), "width", "views", "iterations", "removed"]
    options = {name: getattr(config, name) for name in names}
    if path.exists() and (kept := read_json(path))["options"] == options:
        return kept
    model = trained(folder, seed, config)
    session = Session.open(SessionConfig(field=FIELD), model)
    world = compose(seed)
    truth = truth_of(session, world)
    question = session.question(list(truth))
    finder = ObjectFinder(session.field)
    found = {answer.phrase: answer for answer in finder.find(question, config)}
    false = [len(answer.instances) for answer in finder.find(session.question(_absent(world, seed)), config)]
    result = {"options": options, "located": _rows(session, world, truth, found), "absent": false, "removal": []}
    write_json(path, result)
    known, means = finder.known, session.field.trained.gaussians.means.cpu().numpy()
    for phrase in chosen(world, truth, config.removed):
        masks = {"after": removed_mask(found[phrase], known, means), "oracle": truth[phrase]}
        result["removal"].append(removed(session, world, phrase, masks, truth[phrase], folder))
    write_json(path, result)
    return result


def trained(folder: Path, seed: int, config: ObjectsConfig) -> ModelFolder:
    """World, Gaussians and lifted field below `folder`; what is finished is left as it is."""
    scene, model = folder / "scene", folder / "model"
    s, m = shlex.quote(str(scene)), shlex.quote(str(model))
    iterations = "" if config.iterations is None else f"--iterations {config.iterations}"
    _run(f"-m toy_world -s {s} --seed {seed} --width {config.width} --height {config.width * 3 // 4} --views {config.views}")
    _run(f"preprocess.py -s {s} --features mini")
    _run(f"train.py -s {s} -m {m} --eval --preset fast {iterations}")
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
        session.field.trained.gaussians, session.scene.train, partial(part_map, session.scene.folder), len(world.parts)
    )
    return {phrase: mask for phrase, mask in true_gaussians(weights, phrases).items() if mask.any()}


def _absent(world: World, seed: int) -> list[str]:
    """Objects of another world, of kinds that this one has neither as an object nor as a part."""
    here = {item.kind for item in world.items} | {part.name for _, part in world.parts}
    other = compose(seed + OTHER)
    return [item.phrase for item in other.items[: other.num_objects] if item.kind not in here]


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


if __name__ == "__main__":
    command_line.run(objects, ObjectsConfig)
