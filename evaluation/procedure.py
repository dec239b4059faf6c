"""How figures came about, as text: what two figures must share to compare."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from workspace import InputError, ModelFolder
from workspace.files import file_digest
from workspace.record_types import Eval3dRecord, EvalRecord


def relevancy_text(relevancy: Mapping[str, Any]) -> str:
    """Temperature and negatives of the relevancy, as `Session.relevancy` returns them."""
    return f"temperature {relevancy['temperature']:g}, negatives {', '.join(relevancy['negatives'])}"


def distinct(models: Sequence[Path]) -> Sequence[Path]:
    """The model folders; InputError if one is given twice, which would count as a repetition with a spread of zero."""
    seen: dict[Path, Path] = {}
    for path in models:
        if path.resolve() in seen:
            raise InputError(f"{path} and {seen[path.resolve()]} are one model folder. Expected each repetition once.")
        seen[path.resolve()] = path
    return models


def field_files(model: ModelFolder) -> dict[str, str]:
    """Digests of the files of the trained field by name, the same on every machine; empty where there are none."""
    return {path.name: file_digest(path) for path in sorted(model.language.glob("*.npy"))}


def refuse_stale(model: ModelFolder, record: EvalRecord | Eval3dRecord, command: str) -> None:
    """InputError if the language field was trained again since `record` was written by `command`.

    A folder with figures alone, copied from elsewhere, is taken as it is; so are records of earlier versions.
    """
    then, now = record.inputs.get("field_files"), field_files(model)
    if then and now and then != now:
        raise InputError(f"The figures of {model.root} are of a field that has been trained again since. Run: {command}")


def the_only(procedures: Collection[str], command: str) -> str:
    """The procedure that all figures of a table share; InputError if there are several. `command` computes the figures."""
    if len(procedures) > 1:
        found = "\n  ".join(sorted(procedures))
        raise InputError(
            f"These models were answered differently, and such figures do not compare:\n  {found}\n"
            f"Evaluate all of them with the same flags of {command}."
        )
    (procedure,) = procedures
    return procedure
