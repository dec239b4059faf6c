"""How figures came about, as text: what two figures must share to compare."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from query.loading import load_field
from workspace import InputError, ModelFolder
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


def refuse_stale(model: ModelFolder, record: EvalRecord | Eval3dRecord, level: str | None, command: str) -> None:
    """InputError if the language field was trained again since `record` was written by `command`.

    `level` is the one that was loaded, None for all. A folder with figures alone, copied from elsewhere, is taken as it is.
    """
    if not model.language.exists() or not record.inputs:
        return
    now = load_field(model, torch.device("cpu"), level).fingerprint()
    if any(record.inputs.get(name, digest) != digest for name, digest in now.items()):
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
