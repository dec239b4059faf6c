"""Stage records: with which settings and from which inputs a folder was made, and whether it is finished.

A stage folder carries `stage.json`, written first as incomplete and completed last, so that a killed stage is resumed and
never mistaken for a finished one.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workspace.errors import InputError
from workspace.json_files import read_json, write_json

RECORD = "stage.json"
SHOWN = 12  # differences listed in a message
_DIGEST = re.compile("[0-9a-f]{16,64}")  # nobody can compare these by eye
FORMATS = {  # stage name -> version of its files; a changed file format bumps it and gets a line in CHANGELOG.md
    "features": 1,
    "autoencoder": 1,
    "rgb": 1,
    "language": 1,
    "render": 1,
    "eval": 1,
    "eval_3d": 1,
    "eval_scan": 1,
    "convert": 1,
}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        a, b = old.get(name), new.get(name)
        if all(isinstance(value, Mapping | None) for value in (a, b)):
            lines += _differences(a or {}, b or {}, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"  {prefix}{name}: {_change(a, b)}")
    return lines


def _change(a: Any, b: Any) -> str:
    if not all(value is None or (isinstance(value, str) and _DIGEST.fullmatch(value)) for value in (a, b)):
        return f"{a!r} on disk, {b!r} now"
    return "not there before" if a is None else "gone" if b is None else "another one now"


@contextmanager
def stage(
    folder: Path, name: str, config: Mapping[str, Any], inputs: Mapping[str, Any], overwrite: bool = False
) -> Iterator[dict[str, Any]]:
    """Run one stage over `folder`: resume what is there when the record agrees, refuse when it does not.

    `config` holds the settings that change the result (not the device, not the shard), `inputs` what the stage read, by
    name. The record is yielded; a block that adds to it (`record["report"] = ...`) has that written with the completion.
    A block that ends with an exception leaves the stage incomplete. A block that has not finished every item sets
    `record["complete"] = False`.

    Raises:
        InputError: the folder holds another configuration or files without a record, and `overwrite` is false.
    """
    record = {"stage": name, "format": FORMATS[name], "config": dict(config), "inputs": dict(inputs)}
    record = json.loads(json.dumps(record))  # tuples and paths compare as they will be read back
    path = folder / RECORD
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    resumed = path.exists()
    if resumed:
        found = read_record(folder, "Add --overwrite to replace the folder.")
        different = _differences({k: found.get(k) for k in record}, record)
        if different:
            inputs_only = all(line.startswith("  inputs.") for line in different)
            more = [f"  and {len(different) - SHOWN} more"] if len(different) > SHOWN else []
            raise InputError(
                f"{folder} was made {'from other inputs' if inputs_only else 'with other settings'}:\n"
                + "\n".join(different[:SHOWN] + more)
                + f"\n{'Put the old ones back' if inputs_only else 'Repeat the old ones'}, or add --overwrite to replace it."
            )
        record = {**found, **record}
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files but no {RECORD}, so their settings are unknown. "
            "Move it away, or add --overwrite to replace it."
        )
    write_json(path, {**record, "complete": False})
    record["complete"] = True
    try:
        yield record
    except InputError:
        if not resumed and [entry.name for entry in folder.iterdir()] == [RECORD]:
            path.unlink()  # refused before anything was made: these settings have no claim on the folder
        raise
    write_json(path, record)


def read_record(folder: Path, remedy: str = "Add --overwrite to replace the folder.") -> dict[str, Any]:
    """The record of a stage folder, whether finished or not; InputError with the `remedy` when the file is damaged."""
    path = folder / RECORD
    try:
        record = read_json(path)
    except InputError as error:
        raise InputError(f"{error} It says with which settings {folder} was made. {remedy}") from None
    types = {"stage": str, "format": int, "config": dict, "inputs": dict}
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in types.items()):
        raise InputError(
            f"{path} is damaged: expected an object with stage, format, config and inputs, which say how {folder} was made. "
            + remedy
        )
    return record


def require(folder: Path, name: str, command: str) -> dict[str, Any]:
    """Record of a finished stage; InputError with the `command` that makes it when it is absent, old or incomplete."""
    path = folder / RECORD
    if not path.exists():
        raise InputError(f"Nothing in {folder}: the {name} stage has not run. Run: {command}")
    record = read_record(folder, f"Run: {command} --overwrite")
    if record.get("stage") != name or record.get("format") != FORMATS[name]:
        raise InputError(
            f"{path} is of stage {record.get('stage')!r} format {record.get('format')!r}; "
            f"expected {name!r} format {FORMATS[name]}. Run: {command} --overwrite"
        )
    if not record.get("complete"):
        raise InputError(f"The {name} stage in {folder} did not finish. Continue it with: {command}")
    return record
