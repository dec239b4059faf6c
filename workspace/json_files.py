"""JSON files: written whole or not at all; any content that is not usable JSON raises one clear error."""

import json
import math
from pathlib import Path
from types import GenericAlias
from typing import Any, NoReturn, TypeVar

import msgspec

from workspace.errors import InputError
from workspace.files import atomic

_INT64 = 2**63
T = TypeVar("T")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all. Non-finite numbers are refused: they are not JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, nan_as_none: bool = False) -> Any:
    """Read a JSON file. Every number in it is finite, every integer fits in 64 bits, every string can be encoded as UTF-8.

    Args:
        path: the file.
        nan_as_none: read NaN and Infinity, which some programs write for missing numbers, as None.

    Raises:
        InputError: the file is missing or a folder, is not UTF-8 or not JSON, is nested too deeply, or holds NaN, Infinity,
            a larger integer or half a surrogate pair.
    """
    constant = (lambda _: None) if nan_as_none else _refuse_constant
    try:
        text = path.read_text(encoding="utf-8-sig")
        value = json.loads(text, parse_constant=constant, parse_float=_finite, parse_int=_int64)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # "\ud800" alone is valid JSON, but not valid text
        return value
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a JSON file.") from None
    except RecursionError:
        raise InputError(f"{path} is not valid JSON: it is nested too deeply.") from None
    except UnicodeEncodeError:
        raise InputError(f"{path} is not valid JSON: a string holds half a surrogate pair.") from None
    except ValueError as error:  # not JSON, not UTF-8, or a number refused below
        raise InputError(f"{path} is not valid JSON: {error}.") from None


def read_typed(path: Path, kind: type[T] | GenericAlias, remedy: str) -> T:
    """Read a JSON file as `kind`, a dataclass or a container of typed values; other fields of an object are ignored.

    Raises:
        InputError: as `read_json`, or the content is not of that type; the message ends with the `remedy`.
    """
    try:
        return msgspec.convert(read_json(path), kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path} is damaged{described(error)}. {remedy}") from None


def described(error: msgspec.ValidationError) -> str:
    """Place and reason of a type error, to follow a name."""
    reason, _, place = str(error).replace("`", "").partition(" - at $")
    where = f" at {place.lstrip('.')}" if place else ""
    return f"{where}: {reason[:1].lower()}{reason[1:]}"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond the largest number")
    return value


def _int64(text: str) -> int:
    # check the length before converting: int() takes time quadratic in the number of digits
    value = int(text) if len(text) <= 20 else _INT64
    if not -_INT64 <= value < _INT64:
        raise ValueError(f"the integer {text[:20]}... of {len(text)} digits does not fit in 64 bits")
    return value
