"""The scenes of a run, from a table or a folder. Standard library only, as all of the driver's modules."""

import csv
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED = ("workflow", "thumbnails")  # folders beside the models in an output folder
COLUMNS = ("scene", "source_path", "photographs", "phrases")
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
USUAL = 100  # photographs, where they cannot be counted yet


class SceneTableError(Exception):
    """A table or folder that cannot be used; the message is for the user."""


@dataclass(frozen=True)
class Scene:
    """One scene: its folder, what it is converted from if anything, and what it is asked."""

    name: str
    source_path: str
    photographs: str | None = None
    """Photographs or a video that convert.py makes the scene folder from."""
    phrases: tuple[str, ...] = ()


def read_scenes(place: str, phrases: tuple[str, ...] = ()) -> dict[str, Scene]:
    """Scenes by name, in the order of the table, or of a folder's scenes by name.

    Args:
        place: a table with a header and columns separated by tabs (scene, source_path, and optionally photographs and phrases,
            which are separated by "|"), or a folder that contains scene folders, each with images/.
        phrases: for scenes whose row names none.

    Raises:
        SceneTableError: nothing there, no scene in it, or a row that cannot be used.
    """
    path = Path(place)
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if (entry / "images").is_dir() and not entry.name.startswith("."))
        rows = [(f"{path / name}", {"scene": name, "source_path": str(path / name)}) for name in names]
        if not rows:
            raise SceneTableError(f"{path} contains no scene: expected folders that have a folder images/, or a table (.tsv).")
    elif path.is_file():
        rows = _table(path)
    else:
        raise SceneTableError(f"No folder or table {path}. Say where the scenes are: --config scenes=<folder or table.tsv>")
    scenes: dict[str, Scene] = {}
    for place_of_row, row in rows:
        scene = _scene(place_of_row, row, phrases)
        if scene.name in scenes:
            raise SceneTableError(f"{place_of_row}: a second scene named {scene.name!r}; names are folders of the output.")
        scenes[scene.name] = scene
    return scenes


def _table(path: Path) -> list[tuple[str, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SceneTableError(f"{path} is not UTF-8 text; expected a table separated by tabs.") from None
    reader = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE, restkey="")
    columns = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or not {"scene", "source_path"} <= set(columns):
        raise SceneTableError(
            f"{path} has the columns {', '.join(columns) or 'none'}; expected, separated by tabs: scene, source_path, "
            "and if needed photographs and phrases."
        )
    rows = [(f"{path}, line {reader.line_num}", row) for row in reader if any((value or "").strip() for value in row.values())]
    for place, row in rows:
        if "" in row:
            raise SceneTableError(f"{place}: more values than the {len(columns)} columns of the header.")
    if not rows:
        raise SceneTableError(f"{path} names no scene.")
    return rows


def _scene(place: str, row: dict[str, str | None], phrases: tuple[str, ...]) -> Scene:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    name = values["scene"]
    if not NAME.fullmatch(name) or name in RESERVED:
        raise SceneTableError(
            f"{place}: {name!r} cannot be the name of a scene; expected letters, digits, '.', '_' and '-', and not "
            f"{' or '.join(RESERVED)}."
        )
    if not values["source_path"]:
        raise SceneTableError(f"{place}: no source_path for the scene {name!r}.")
    own = tuple(phrase for part in values["phrases"].split("|") if (phrase := part.strip()))
    return Scene(name, values["source_path"], values["photographs"] or None, own or tuple(phrases))


@cache
def count_photographs(scene: Scene) -> int:
    """Photographs of a scene, to estimate time and memory by; a usual number where there is no folder yet."""
    count = 0
    for _, _, names in os.walk(Path(scene.source_path) / "images"):
        count += sum(name.lower().endswith(PHOTOGRAPHS) for name in names)
    return count or USUAL
