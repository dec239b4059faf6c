"""What one visitor has chosen: the same for both back ends, and kept in the browser for when the connection comes back."""

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

Show: TypeAlias = Literal["Photograph", "Relevancy", "Mask", "Objects"]
Edit: TypeAlias = Literal["Everything", "Only the object", "Without the object", "Object in a colour"]

SHOWS: tuple[Show, ...] = get_args(Show)
EDITS: tuple[Edit, ...] = get_args(Edit)
LONGEST_PHRASE = 200  # characters
MOST_PHRASES = 12  # of the history
QUESTION = ("phrase", "negatives", "level", "threshold")  # fields that change the answer


@dataclass(frozen=True)
class ViewState:
    """Everything but the camera."""

    phrase: str = ""
    """What is looked for; empty for nothing."""
    negatives: tuple[str, ...] = ()
    """What stands for everything else; none for the text encoder's."""
    level: str | None = None
    """None for the one that answers best."""
    threshold: float = 0.5
    """Relevancy above which a Gaussian is selected, in (0, 1)."""
    show: Show = "Relevancy"
    opacity: float = 0.8
    """Of what is laid over the photograph, in [0, 1]."""
    edit: Edit = "Everything"
    color: tuple[int, int, int] = (255, 90, 60)
    """Of the object in a colour, 0 to 255."""
    history: tuple[str, ...] = ()
    """Phrases looked for, the newest first."""
    vocabulary: tuple[str, ...] = ()
    """Names that a click may give; none for the history."""

    def changed(self, **changes: Any) -> "ViewState":
        """The state with other values; a new phrase, cut to 200 characters, goes to the top of the history."""
        state = replace(self, **changes)
        if len(state.phrase) > LONGEST_PHRASE:
            state = replace(state, phrase=state.phrase[:LONGEST_PHRASE].strip())
        if state.phrase and state.phrase != self.phrase:
            older = [phrase for phrase in state.history if phrase != state.phrase]
            state = replace(state, history=(state.phrase, *older)[:MOST_PHRASES])
        return state

    def asks_as(self, other: "ViewState") -> bool:
        """Whether the answer is the same."""
        return all(getattr(self, name) == getattr(other, name) for name in QUESTION)

    def to_json(self) -> str:
        """For the browser's storage."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, levels: tuple[str, ...], threshold: float = 0.5) -> "ViewState":
        """The state that a browser kept; what is missing, of another version or of another model becomes the default.

        `threshold` is the default one.
        """
        try:
            kept = json.loads(text or "{}")
        except json.JSONDecodeError:
            kept = {}
        state = cls(threshold=threshold)
        for name, value in kept.items() if isinstance(kept, dict) else ():
            value = tuple(value) if isinstance(value, list) else value
            if name in _MEANINGFUL and _MEANINGFUL[name](value, levels):
                state = replace(state, **{name: value})
        return state


def phrases_of(text: str) -> tuple[str, ...]:
    """Phrases separated by commas or semicolons, each once, without empty ones."""
    parts = (part.strip()[:LONGEST_PHRASE] for part in text.replace(";", ",").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _is_phrase(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_PHRASE


def _are_phrases(value: Any, _: Any) -> bool:
    return isinstance(value, tuple) and all(_is_phrase(phrase) and phrase.strip() for phrase in value)


def _is_share(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


_MEANINGFUL = {
    "phrase": lambda value, _: _is_phrase(value),
    "negatives": _are_phrases,
    "level": lambda value, levels: value is None or value in levels,
    "threshold": lambda value, _: _is_share(value) and 0 < value < 1,
    "show": lambda value, _: value in SHOWS,
    "opacity": lambda value, _: _is_share(value),
    "edit": lambda value, _: value in EDITS,
    "color": lambda value, _: (
        isinstance(value, tuple)
        and len(value) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in value)
    ),
    "history": lambda value, _: _are_phrases(value, _) and len(value) <= MOST_PHRASES,
    "vocabulary": _are_phrases,
}
assert _MEANINGFUL.keys() == {one.name for one in fields(ViewState)}
