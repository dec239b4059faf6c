"""What a program asks over HTTP, checked: from the query of a URL, or from a JSON body with the same names."""

import json
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from query.objects.instances import THRESHOLDS
from query.open_model import OpenModel
from scene.camera import FARTHEST, Camera
from viewer.state import LONGEST_PHRASE
from workspace import InputError

LARGEST_BODY = 64 << 10  # bytes
MOST_PHRASES = 32  # of a request
MOST_VIEWS = 8  # photographs listed for an instance
LARGEST_PIXELS = 4096 * 4096  # of a mask
_OPTIONS = {"threshold": float, "rule": str, "grow": float, "neighbours": int, "min_gaussians": int, "instances": int}
_POSE = {"fx": float, "fy": float, "cx": float, "cy": float, "width": int, "height": int}


@dataclass(frozen=True)
class Request:
    """One request."""

    text: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    level: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of InstanceOptions."""
    camera_of: str | dict[str, Any] | None = None
    """Name of a photograph, or a pose with intrinsics."""
    x: float | None = None
    y: float | None = None
    instance: int = 1
    views: int = 3

    def camera(self, model: OpenModel) -> Camera:
        """The camera asked for; InputError when it is missing or not one."""
        if self.camera_of is None:
            raise InputError("camera: expected the name of a photograph, or in a JSON body a pose (docs/python.md).")
        return model.camera(self.camera_of) if isinstance(self.camera_of, str) else _posed(self.camera_of)

    def pixel(self) -> tuple[int, int]:
        """Column and row asked for."""
        if self.x is None or self.y is None:
            raise InputError("x and y: expected the column and row of a pixel.")
        return math.floor(self.x), math.floor(self.y)

    def single(self) -> "Request":
        """The same request; InputError unless it has exactly one phrase."""
        if len(self.text) != 1:
            raise InputError(f"text: expected one phrase, found {len(self.text)}.")
        return self

    def asked_again(self, phrase: str, instance: int) -> dict[str, Any]:
        """Parameters that ask for one instance of one phrase in the same way."""
        same = {"text": phrase, "instance": instance, **self.options}
        same |= {"negatives": list(self.negatives)} if self.negatives else {}
        return same | ({} if self.level is None else {"level": self.level})


def parse_request(query: str, body: bytes) -> Request:
    """The request of a URL's query, or of a JSON object in the body; InputError when a value has no meaning."""
    try:
        found: Any = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise InputError('the body is not JSON; expected an object such as {"text": ["red mug"]}.') from None
    if not isinstance(found, dict):
        raise InputError('the body is no JSON object; expected one such as {"text": ["red mug"]}.')
    try:
        given = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=128)
    except ValueError:
        raise InputError("the query of the URL cannot be read; encode phrases, as in ?text=red+mug.") from None
    for name, values in given.items():
        found.setdefault(name, values if name in ("text", "negatives") else values[-1])
    known = {"text", "negatives", "level", "camera", "x", "y", "instance", "views", *_OPTIONS}
    if unknown := sorted(found.keys() - known):
        raise InputError(f"unknown: {', '.join(map(str, unknown))[:200]}; expected {', '.join(sorted(known))}.")
    numbers = {"instance": int, "views": int, "x": float, "y": float}
    request = Request(
        _phrases(found, "text"),
        _phrases(found, "negatives"),
        _text(found, "level"),
        {name: _value(found, name, kind) for name, kind in _OPTIONS.items() if name in found},
        _camera(found),
        **{name: _value(found, name, kind) for name, kind in numbers.items() if name in found},
    )
    if request.options.get("rule", "fixed") not in THRESHOLDS:
        raise InputError(f"rule: expected {', '.join(THRESHOLDS)}.")
    if not 0 <= request.views <= MOST_VIEWS:
        raise InputError(f"views: expected 0 to {MOST_VIEWS}.")
    return request


def _phrases(found: dict[str, Any], name: str) -> tuple[str, ...]:
    value = found.get(name, [])
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(phrase, str) and len(phrase) <= LONGEST_PHRASE for phrase in value):
        raise InputError(f"{name}: expected a phrase, or a list of phrases, of at most {LONGEST_PHRASE} characters each.")
    if len(value) > MOST_PHRASES:
        raise InputError(f"{name}: expected at most {MOST_PHRASES} phrases, found {len(value)}.")
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        raise InputError(f"{name}: half of a surrogate pair is no character; expected UTF-8 text.") from None
    return tuple(dict.fromkeys(value))


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= LONGEST_PHRASE):
        raise InputError(f"{name}: expected a name.")
    return value


def _value(found: dict[str, Any], name: str, kind: type) -> Any:
    try:
        if isinstance(found[name], bool | list | dict) or found[name] is None:
            raise ValueError
        value = kind(found[name])
        if kind is not str and (not math.isfinite(value) or (kind is int and float(found[name]) != value)):
            raise ValueError
    except (ValueError, OverflowError):
        wanted = {float: "a number", int: "a whole number", str: "a name"}[kind]
        raise InputError(f"{name}: expected {wanted}, found {str(found[name])[:60]!r}.") from None
    return value


def _camera(found: dict[str, Any]) -> str | dict[str, Any] | None:
    value = found.get("camera")
    return value if isinstance(value, dict) else _text(found, "camera")


def _posed(pose: dict[str, Any]) -> Camera:
    """The camera of a JSON object: world_to_camera as four rows, OpenCV axes, and intrinsics in pixels."""
    wanted = {"world_to_camera", *_POSE}
    if pose.keys() != wanted:
        raise InputError(f"camera: expected {', '.join(sorted(wanted))}; found {', '.join(sorted(map(str, pose)))[:200]}.")
    numbers = {name: _value(pose, name, kind) for name, kind in _POSE.items()}
    try:
        matrix = np.array(pose["world_to_camera"], np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    rigid = matrix.shape == (4, 4) and np.isfinite(matrix).all() and (np.abs(matrix) < FARTHEST).all()
    rigid = rigid and np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3) and np.linalg.det(matrix) > 0
    if not rigid or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise InputError("camera: world_to_camera is no rotation and translation in four rows of four numbers.")
    if min(numbers["fx"], numbers["fy"]) <= 0 or min(numbers["width"], numbers["height"]) < 1:
        raise InputError("camera: expected fx, fy, width and height above 0.")
    if numbers["width"] * numbers["height"] > LARGEST_PIXELS or max(numbers["width"], numbers["height"]) > 1 << 14:
        raise InputError(f"camera: expected at most {LARGEST_PIXELS} pixels, and {1 << 14} on a side.")
    if any(abs(numbers[name]) > FARTHEST for name in ("fx", "fy", "cx", "cy")):
        raise InputError(f"camera: expected fx, fy, cx and cy below {FARTHEST:g}.")
    return Camera("request", matrix, **numbers)
