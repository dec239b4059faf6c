"""Which captions are true of which pieces.

A piece is cropped from its picture. A caption that omits attributes ("mug" for a striped red mug) is true; one that
contradicts the piece ("blue mug") is false; one about something the crop does not show (the colour of the mug that a
handle belongs to) is unknown and left out of training.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8

from bundled.captions import Description
from toy_world.materials import PALETTE, TEXTURES

UNKNOWN, FALSE, TRUE = -1, 0, 1
ADJECTIVES = (*PALETTE, *TEXTURES)


class DescriptionTable:
    """Descriptions as rows of numbers: kind, part, colour, texture, and the adjectives of the whole as bits."""

    def __init__(self, descriptions: Sequence[Description]) -> None:
        rows = [
            [_number(k.kind), _number(k.part), _number(k.color), _number(k.texture), _bits(k.whole_adjectives)]
            for k in descriptions
        ]
        self.table = np.array(rows, np.int64).reshape(-1, 5)

    def rows(self, index: Int[np.ndarray, " k"]) -> "DescriptionTable":
        """The descriptions at `index`."""
        chosen = DescriptionTable(())
        chosen.table = self.table[index]
        return chosen


def _number(word: str | None) -> int:
    return -1 if word is None else zlib.crc32(word.encode())


def _bits(words: str | None) -> int:
    return sum(1 << ADJECTIVES.index(word) for word in set((words or "").split()))


def truth_matrix(pieces: DescriptionTable, captions: DescriptionTable) -> Int8[np.ndarray, "p s"]:
    """TRUE, FALSE or UNKNOWN for every pair."""
    p, s = pieces.table[:, None], captions.table[None]
    agrees = (p[..., 1] == s[..., 1]) & ((s[..., 0] < 0) | (s[..., 0] == p[..., 0]))
    for attribute in (2, 3):
        agrees = agrees & ((s[..., attribute] < 0) | (s[..., attribute] == p[..., attribute]))
    undecided = (s[..., 4] & ~p[..., 4]) != 0
    return np.where(agrees, np.where(undecided, UNKNOWN, TRUE), FALSE).astype(np.int8)
