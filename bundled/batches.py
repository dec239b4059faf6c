"""What a training step of the bundled encoder sees: pieces of a few worlds, and sayings that tell them apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from bundled.captions import Look, sayings_of
from bundled.crops import CROP, Pieces

WORLDS, PER_WORLD = 8, 20  # a query must find its object among those around it, so pieces of one world are seen together
STRANGERS, HYBRIDS = 32, 96  # sayings about pieces that are not in the batch, and such as mix up two that are


class Batches:
    """Draws batches. Rare looks come as often as half their number would have them: the table is a tenth of all pieces."""

    def __init__(self, pieces: Pieces, rng: np.random.Generator) -> None:
        self.looks, self.rng = pieces.crop_looks, rng
        self.distinct = sorted({*pieces.crop_looks}, key=repr)
        self.worlds = []
        for world in np.unique(pieces.crop_worlds):
            rows = np.flatnonzero(pieces.crop_worlds == world)
            counts = Counter(self.looks[i] for i in rows)
            weight = np.array([counts[self.looks[i]] ** -0.5 for i in rows])
            self.worlds.append((rows, weight / weight.sum()))

    def draw(self) -> tuple[Int[np.ndarray, " b"], list[Look]]:
        """Rows of the pieces and the sayings."""
        rng, rows, sayings = self.rng, [], []
        for world in rng.choice(len(self.worlds), min(WORLDS, len(self.worlds)), replace=False):
            candidates, weight = self.worlds[world]
            chosen = rng.choice(candidates, min(PER_WORLD, len(candidates)), replace=False, p=weight)
            looks = [self.looks[i] for i in chosen]
            sayings += [_any_of(rng, sayings_of(look)) for look in looks]
            sayings += [hybrid(rng, looks) for _ in range(HYBRIDS // WORLDS)]
            rows.append(chosen)
        sayings += [_any_of(rng, sayings_of(_any_of(rng, self.distinct))) for _ in range(STRANGERS)]
        return np.concatenate(rows), sayings


def _any_of(rng: np.random.Generator, options: Sequence[Look]) -> Look:
    return options[rng.integers(len(options))]


def hybrid(rng: np.random.Generator, looks: Sequence[Look]) -> Look:
    """A saying with the colour and texture of one piece and the name of another: `turquoise pot` where there are a turquoise
    cube and a red pot. It may be true of one of them by chance."""
    look, name = _any_of(rng, looks), _any_of(rng, looks)
    return _any_of(rng, sayings_of(replace(look, kind=name.kind, part=name.part, whole_look=None)))


def augmented(rng: np.random.Generator, crops: UInt8[np.ndarray, "b 64 64 3"]) -> UInt8[np.ndarray, "b 64 64 3"]:
    """The crops in other light, mirrored, turned, shifted and stretched a little."""
    changed = np.empty_like(crops)
    for i, crop in enumerate(crops):
        turn = cv2.getRotationMatrix2D((CROP / 2, CROP / 2), rng.uniform(-10, 10), rng.uniform(0.9, 1.02))
        turn[:, 0] *= rng.choice((-1, 1)) * rng.uniform(0.94, 1.06)
        turn[:, 2] += CROP / 2 - turn @ (CROP / 2, CROP / 2, 1) + rng.uniform(-2, 2, 2)
        moved = cv2.warpAffine(crop, turn, (CROP, CROP), flags=cv2.INTER_LINEAR)
        changed[i] = np.clip(moved * np.float32(rng.uniform(0.8, 1.2)), 0, 255)
    return changed
