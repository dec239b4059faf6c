"""Extractor and settings that features were computed with, as every record that depends on them stores them."""

import math
from collections.abc import Mapping
from typing import Any

from workspace.errors import InputError


class FeatureSettings:
    """Extractor and settings that features were computed with.

    Settings are specific to an extractor and read only by it. Features with equal settings share one embedding space and can
    be compared with each other and with the same text encoder.
    """

    def __init__(self, extractor: str, **own: Any):
        self.extractor = extractor
        """Name of the extractor, as in `--features`."""
        self._own = own

    @classmethod
    def of(cls, recorded: Any) -> "FeatureSettings":
        """Parse the settings in a record; ValueError if they name no extractor."""
        if not isinstance(recorded, Mapping) or not isinstance(recorded.get("features"), str):
            raise ValueError("Expected `object` with the name of the extractor as `features`")
        return cls(recorded["features"], **{name: value for name, value in recorded.items() if name != "features"})

    @property
    def recorded(self) -> dict[str, Any]:
        """Settings as stored in the record, with the extractor as `features`."""
        return {"features": self.extractor, **self._own}

    def text(self, name: str) -> str:
        """String setting of the extractor; InputError if it is missing or not a string."""
        value = self._own.get(name)
        if not isinstance(value, str):
            raise InputError(
                f"The record of the {self.extractor} features has {value!r} as {name}; expected a text. "
                f"Make them again: preprocess.py with --features {self.extractor} --overwrite"
            )
        return value

    def number(self, name: str, default: float) -> float:
        """Numeric setting of the extractor, `default` if not recorded; InputError if it is not a finite number above 0."""
        value = self._own.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"The record of the {self.extractor} features has {value!r} as {name}; expected a number above 0.")
        return float(value)

    def texts(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Setting that is a list of strings, `default` if not recorded; InputError if it is anything else, or empty."""
        value = self._own.get(name, default)
        if not isinstance(value, list | tuple) or not value or not all(isinstance(text, str) and text for text in value):
            raise InputError(f"The record of the {self.extractor} features has {value!r} as {name}; expected a list of texts.")
        return tuple(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSettings) and self.recorded == other.recorded

    __hash__ = None

    def __repr__(self) -> str:
        return f"FeatureSettings({self})"

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.recorded.items())
