"""What can be said of a piece of a toy world, and which sayings are true of which piece.

A piece is seen alone, cut out of its picture. A saying that leaves something out ("mug" of a striped red mug) is true; one
that says something else ("blue mug") is false; one that speaks of what the piece does not show (the colour of the mug a
handle belongs to) is neither, and is left out of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int8

GENERIC = ("object", "things", "stuff", "texture")  # the canonical negatives: true of everything, telling of nothing
TEMPLATES = ("{}", "a {}", "the {}", "a photo of a {}", "a picture of the {}", "one {}")
UNKNOWN, FALSE, TRUE = -1, 0, 1


@dataclass(frozen=True)
class Look:
    """Attributes of a piece or of a saying; None where it says nothing. `part` is None for whole objects."""

    kind: str | None
    part: str | None = None
    color: str | None = None
    texture: str | None = None
    kind_color: str | None = None  # of the whole that a part belongs to

    def words(self) -> str:
        """The saying in words: `striped red mug`, `white marble cube`, `red mug's yellow handle`, `lid of the pot`."""
        look = [] if self.texture in (None, "plain") else [self.texture]
        if self.color is not None and self.texture != "wooden":
            look.insert(0 if self.texture == "marble" else len(look), self.color)
        if self.part is None:
            return " ".join([*look, self.kind or "object"])
        if self.kind is None:
            return " ".join([*look, self.part])
        whole = f"{self.kind_color} {self.kind}" if self.kind_color else self.kind
        return f"{whole}'s {' '.join([*look, self.part])}"


def truth(piece: Look, saying: Look) -> int:
    """Whether `saying` is TRUE or FALSE of `piece`, or UNKNOWN."""
    if piece.part != saying.part or (saying.kind is not None and saying.kind != piece.kind):
        return FALSE
    if saying.color is not None and saying.color != piece.color:
        return FALSE
    if saying.texture is not None and saying.texture != piece.texture:
        return FALSE
    if saying.kind_color is not None and piece.part is not None and saying.kind_color != piece.kind_color:
        return UNKNOWN
    return TRUE


def truths(pieces: Sequence[Look], sayings: Sequence[Look]) -> Int8[np.ndarray, "p s"]:
    """`truth` of every pair."""
    known: dict[tuple[Look, Look], int] = {}
    rows = [[known.setdefault((p, s), -2) for s in sayings] for p in pieces]
    for i, p in enumerate(pieces):
        for j, s in enumerate(sayings):
            if rows[i][j] == -2:
                known[p, s] = rows[i][j] = truth(p, s)
    return np.int8(rows)


def sayings_of(piece: Look) -> list[Look]:
    """Everything that can be said of a piece, from the plainest word to the fullest description."""
    colors = (None,) if piece.texture == "wooden" else (None, piece.color)
    textures = (None,) if piece.texture == "plain" else (None, piece.texture)
    wholes = [(piece.kind, None)]
    if piece.part is not None:
        wholes += [(None, None), (piece.kind, piece.kind_color)]
    return [Look(k, piece.part, c, t, kc) for k, kc in wholes for c in colors for t in textures]


def spoken(rng: np.random.Generator, saying: Look) -> str:
    """A saying as somebody may put it."""
    text = saying.words()
    if saying.part is not None and saying.kind is not None and rng.random() < 0.3:
        whole, part = text.split("'s ", 1)
        text = f"{part} of the {whole}"
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(text) if rng.random() < 0.4 else text
