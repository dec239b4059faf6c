"""What can be said of a piece of a toy world, in attributes and in words."""

from dataclasses import dataclass

import numpy as np

GENERIC = ("object", "things", "stuff", "texture")  # the canonical negatives: true of everything, telling of nothing
TEMPLATES = ("{}", "a {}", "the {}", "a photo of a {}", "a picture of the {}", "one {}")


@dataclass(frozen=True)
class Look:
    """Attributes of a piece or of a saying; None where it says nothing. `part` is None for whole objects."""

    kind: str | None
    part: str | None = None
    color: str | None = None
    texture: str | None = None
    whole_look: str | None = None  # adjectives of the whole that a part belongs to: `striped red`

    def words(self) -> str:
        """The saying in words: `striped red mug`, `white marble cube`, `red mug's yellow handle`, `lid of the pot`."""
        look = [] if self.texture in (None, "plain") else [self.texture]
        if self.color is not None and self.texture != "wooden":
            look.insert(0 if self.texture == "marble" else len(look), self.color)
        if self.part is None:
            return " ".join([*look, self.kind or "object"])
        if self.kind is None:
            return " ".join([*look, self.part])
        whole = f"{self.whole_look} {self.kind}" if self.whole_look else self.kind
        return f"{whole}'s {' '.join([*look, self.part])}"


def sayings_of(piece: Look) -> list[Look]:
    """Everything that can be said of a piece, from the plainest word to the fullest description."""
    colors = (None,) if piece.texture == "wooden" else (None, piece.color)
    textures = (None,) if piece.texture == "plain" else (None, piece.texture)
    wholes = [(piece.kind, None)]
    if piece.part is not None:
        wholes += [(None, None), (piece.kind, piece.whole_look)]
    return [Look(kind, piece.part, c, t, whole) for kind, whole in wholes for c in colors for t in textures]


def spoken(rng: np.random.Generator, saying: Look) -> str:
    """A saying as somebody may put it."""
    text = saying.words()
    if saying.part is not None and saying.kind is not None and rng.random() < 0.3:
        whole, part = text.split("'s ", 1)
        text = f"{part} of the {whole}"
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(text) if rng.random() < 0.4 else text
