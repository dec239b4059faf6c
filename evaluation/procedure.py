"""How figures came about, as text: what two figures must share to compare."""

from collections.abc import Collection, Mapping
from typing import Any

from workspace import InputError


def relevancy_text(relevancy: Mapping[str, Any]) -> str:
    """Temperature and negatives of the relevancy, as `Session.relevancy` returns them."""
    return f"temperature {relevancy['temperature']:g}, negatives {', '.join(relevancy['negatives'])}"


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
