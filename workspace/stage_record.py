"""Stage records: the settings and inputs that a folder was computed from, and whether it is complete.

A stage folder contains `stage.json`, first written as incomplete and marked complete at the end, so that a killed stage is
resumed and never mistaken for a finished one. `workspace.record_types` has the type of each stage's record.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from workspace.command_line import continuation
from workspace.errors import InputError
from workspace.json_files import described, read_json, write_json
from workspace.owned_files import MANIFEST, OwnedFiles, holds_files, remove_abandoned
from workspace.record_types import FeatureSettings, StageRecord

RECORD = "stage.json"
REPLACE = "Add --overwrite to replace the folder."
SHOWN = 12  # differences listed in a message
_DIGEST = re.compile("[0-9a-f]{16,64}")  # digests cannot be compared by eye, so messages omit them

R = TypeVar("R", bound=StageRecord)


@dataclass
class OpenStage(Generic[R]):
    """A running stage; the attributes that the block sets are written when the stage completes."""

    folder: Path
    written: dict[str, Any]
    report: Any = None
    """The stage's report, as the record class declares it; initially that of an earlier run, if any."""
    complete: bool = True
    """Set to False by a block that has not finished every item."""

    def save(self) -> None:
        """Write the report before the stage is finished, so that it is not computed again after an interruption."""
        write_json(self.folder / RECORD, self._as_json(complete=False))

    def _as_json(self, complete: bool) -> dict[str, Any]:
        report = {} if self.report is None else {"report": plain(self.report)}
        return {**self.written, **report, "complete": complete}


@contextmanager
def stage(folder: Path, kind: type[R], config: Any, inputs: Any, overwrite: bool = False) -> Iterator[OpenStage[R]]:
    """Run one stage in `folder`: resume if the existing record has the same settings and inputs, else refuse.

    `config` holds the settings that change the result (not the device, not the shard), `inputs` what the stage read, by
    name; dataclasses or mappings. A block that ends with an exception leaves the stage incomplete. `overwrite` removes
    only the files that the stage wrote; if the folder is a link, its target is used.

    Raises:
        InputError: the folder holds another configuration and `overwrite` is false, or it holds files without a record.
    """
    record = _header(kind, config, inputs)
    command = continuation()
    path = folder / RECORD
    owned = OwnedFiles(folder)
    remove_abandoned(folder)
    if overwrite and path.exists() and not (owned.begun or owned.being_removed):
        raise InputError(
            f"{folder} has no list of the files that were written there ({MANIFEST}), so that --overwrite cannot tell them from "
            "yours. Move the folder away or delete it, and repeat the command."
        )
    if owned.being_removed or (overwrite and path.exists()):
        owned.remove()
        path.unlink(missing_ok=True)
    if not path.exists() and holds_files(folder) and not (owned.begun and not any(file.exists() for file in owned.listed())):
        raise InputError(
            f"{folder} holds files but no {RECORD}, so that this command did not write them and leaves them alone. "
            "Move them away, or name another folder."
        )
    resumed = path.exists()
    report = None
    if resumed:
        found = _same(folder, record)
        report = getattr(_typed(path, found, kind, REPLACE), "report", None)
        record = {**found, **record}
    else:
        owned.begin()
    if command is not None:
        record["command"] = command
    write_json(path, {**record, "complete": False})
    run = OpenStage(folder, record, report)
    try:
        with owned.recording() if owned.begun else nullcontext():
            yield run
    except InputError:
        if not resumed and not any(listed.exists() for listed in owned.listed()):
            path.unlink()  # failed before any output: later runs may use other settings
        raise
    write_json(path, run._as_json(run.complete))


def refuse_other(folder: Path, kind: type[R], config: Any, inputs: Any) -> None:
    """Raise the InputError with which `stage` would refuse a folder of other settings or inputs, before costly work."""
    if (folder / RECORD).exists():
        _same(folder, _header(kind, config, inputs))


def read_record(folder: Path, kind: type[R], remedy: str) -> R:
    """The record of a stage folder, whether finished or not.

    Raises:
        InputError: the file is missing, damaged, or of another stage or format; the message ends with the `remedy`.
    """
    path, record = folder / RECORD, _read(folder, remedy)
    if record["stage"] != kind.stage or record["format"] != kind.format:
        raise InputError(
            f"{path} is of stage {record['stage']!r} format {record['format']!r}; "
            f"expected {kind.stage!r} format {kind.format}. {remedy}"
        )
    return _typed(path, record, kind, remedy)


def require(folder: Path, kind: type[R], command: str) -> R:
    """Record of a finished stage; InputError with the `command` to run if it is missing, outdated or incomplete."""
    if not (folder / RECORD).exists():
        raise InputError(f"Nothing in {folder}: the {kind.stage} stage has not run. Run: {command}")
    record = read_record(folder, kind, f"Run: {command} --overwrite")
    if not record.complete:
        raise InputError(f"The {kind.stage} stage in {folder} did not finish. Continue it with: {record.command or command}")
    return record


def plain(value: Any) -> Any:
    """`value` as JSON types; dataclasses become objects without the fields that are None."""
    if isinstance(value, FeatureSettings):
        return plain(value.recorded)
    if is_dataclass(value):
        present = {entry.name: getattr(value, entry.name) for entry in fields(value)}
        return {name: plain(entry) for name, entry in present.items() if entry is not None}
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def _header(kind: type[R], config: Any, inputs: Any) -> dict[str, Any]:
    return {"stage": kind.stage, "format": kind.format, "config": plain(config), "inputs": plain(inputs)}


def _same(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a folder; InputError when it differs from `record`."""
    found = _read(folder, REPLACE)
    different = _differences({k: found.get(k) for k in record}, record)
    if different:
        inputs_only = all(line.startswith("  inputs.") for line in different)
        more = [f"  and {len(different) - SHOWN} more"] if len(different) > SHOWN else []
        raise InputError(
            f"{folder} was made {'from other inputs' if inputs_only else 'with other settings'}:\n"
            + "\n".join(different[:SHOWN] + more)
            + f"\n{'Put the old ones back' if inputs_only else 'Repeat the old ones'}, or add --overwrite to replace it."
        )
    return found


def _read(folder: Path, remedy: str) -> dict[str, Any]:
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


def _typed(path: Path, record: Mapping[str, Any], kind: type[R], remedy: str) -> R:
    try:
        return msgspec.convert(record, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        raise InputError(f"{path} is damaged{described(error)}. {remedy}") from None


def _decoded(kind: type, value: Any) -> Any:
    if kind is FeatureSettings:
        return FeatureSettings.of(value)
    raise NotImplementedError(kind)  # what msgspec expects of a dec_hook for a type that it does not know


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    names = {*old, *new}
    # settings of the command before what is derived from them, such as a segmenter's own settings
    for name in sorted(names, key=lambda name: (isinstance(new.get(name, old.get(name)), Mapping), name)):
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
