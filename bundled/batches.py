"""Training batches of the bundled encoder: pieces of a few worlds, and captions that distinguish them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from bundled.captions import Description, captions_of
from bundled.crops import CROP, Pieces

WORLDS, PER_WORLD = 8, 20  # a query compares objects of one scene, so a batch has several pieces per world
STRANGERS, HYBRIDS = 32, 96  # captions of pieces that are not in the batch, and captions that mix two pieces of the batch


class Batches:
    """Samples batches. A piece is weighted by count^-1/2 of its description, because the table alone is a tenth of all pieces."""

    def __init__(self, pieces: Pieces, rng: np.random.Generator) -> None:
        self.descriptions, self.rng = pieces.crop_descriptions, rng
        self.distinct = sorted({*pieces.crop_descriptions}, key=repr)
        self.worlds = []
        for world in np.unique(pieces.crop_worlds):
            rows = np.flatnonzero(pieces.crop_worlds == world)
            counts = Counter(self.descriptions[i] for i in rows)
            weight = np.array([counts[self.descriptions[i]] ** -0.5 for i in rows])
            self.worlds.append((rows, weight / weight.sum()))

    def draw(self) -> tuple[Int[np.ndarray, " b"], list[Description]]:
        """Rows of the pieces and the captions."""
        rng, rows, captions = self.rng, [], []
        for world in rng.choice(len(self.worlds), min(WORLDS, len(self.worlds)), replace=False):
            candidates, weight = self.worlds[world]
            chosen = rng.choice(candidates, min(PER_WORLD, len(candidates)), replace=False, p=weight)
            descriptions = [self.descriptions[i] for i in chosen]
            captions += [_any_of(rng, captions_of(description)) for description in descriptions]
            captions += [mixed_caption(rng, descriptions) for _ in range(HYBRIDS // WORLDS)]
            rows.append(chosen)
        captions += [_any_of(rng, captions_of(_any_of(rng, self.distinct))) for _ in range(STRANGERS)]
        return np.concatenate(rows), captions


def _any_of(rng: np.random.Generator, options: Sequence[Description]) -> Description:
    return options[rng.integers(len(options))]


def mixed_caption(rng: np.random.Generator, descriptions: Sequence[Description]) -> Description:
    """A caption with the colour and texture of one piece and the name of another: `turquoise pot` from a turquoise cube and
    a red pot. It may be true of a piece by chance."""
    description, name = _any_of(rng, descriptions), _any_of(rng, descriptions)
    return _any_of(rng, captions_of(replace(description, kind=name.kind, part=name.part, whole_adjectives=None)))


def augmented(rng: np.random.Generator, crops: UInt8[np.ndarray, "b 64 64 3"]) -> UInt8[np.ndarray, "b 64 64 3"]:
    """The crops with random brightness, mirroring, rotation, shift and stretch."""
    changed = np.empty_like(crops)
    for i, crop in enumerate(crops):
        turn = cv2.getRotationMatrix2D((CROP / 2, CROP / 2), rng.uniform(-10, 10), rng.uniform(0.9, 1.02))
        turn[:, 0] *= rng.choice((-1, 1)) * rng.uniform(0.94, 1.06)
        turn[:, 2] += CROP / 2 - turn @ (CROP / 2, CROP / 2, 1) + rng.uniform(-2, 2, 2)
        moved = cv2.warpAffine(crop, turn, (CROP, CROP), flags=cv2.INTER_LINEAR)
        changed[i] = np.clip(moved * np.float32(rng.uniform(0.8, 1.2)), 0, 255)
    return changed
