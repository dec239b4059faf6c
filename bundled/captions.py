"""Captions of the pieces of a toy world, as attributes and in words."""

from dataclasses import dataclass

import numpy as np

GENERIC = ("object", "things", "stuff", "texture")  # the canonical negatives: true of every piece
TEMPLATES = ("{}", "a {}", "the {}", "a photo of a {}", "a picture of the {}", "one {}")


@dataclass(frozen=True)
class Description:
    """Attributes of a piece or of a caption; None where they are not named. `part` is None for whole objects."""

    kind: str | None
    part: str | None = None
    color: str | None = None
    texture: str | None = None
    whole_adjectives: str | None = None  # adjectives of the object that a part belongs to: `striped red`

    def words(self) -> str:
        """The caption in words: `striped red mug`, `white marble cube`, `red mug's yellow handle`, `lid of the pot`."""
        adjectives = [] if self.texture in (None, "plain") else [self.texture]
        if self.color is not None and self.texture != "wooden":
            adjectives.insert(0 if self.texture == "marble" else len(adjectives), self.color)
        if self.part is None:
            return " ".join([*adjectives, self.kind or "object"])
        if self.kind is None:
            return " ".join([*adjectives, self.part])
        whole = f"{self.whole_adjectives} {self.kind}" if self.whole_adjectives else self.kind
        return f"{whole}'s {' '.join([*adjectives, self.part])}"


def captions_of(piece: Description) -> list[Description]:
    """Every true caption of a piece, from its name alone to all attributes."""
    colors = (None,) if piece.texture == "wooden" else (None, piece.color)
    textures = (None,) if piece.texture == "plain" else (None, piece.texture)
    wholes = [(piece.kind, None)]
    if piece.part is not None:
        wholes += [(None, None), (piece.kind, piece.whole_adjectives)]
    return [Description(kind, piece.part, c, t, whole) for kind, whole in wholes for c in colors for t in textures]


def caption_text(rng: np.random.Generator, caption: Description) -> str:
    """A caption in words, in one of several phrasings."""
    text = caption.words()
    if caption.part is not None and caption.kind is not None and rng.random() < 0.3:
        whole, part = text.split("'s ", 1)
        text = f"{part} of the {whole}"
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(text) if rng.random() < 0.4 else text
