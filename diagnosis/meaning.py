"""A check of weights by meaning: three free photographs, whose true phrase must beat nine others and point at the right place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from features.grid_store import PatchGrid
from features.preprocessing import PreprocessConfig
from features.registry import spec_of
from features.segment_store import Segments
from features.text import TextEncoder, TextOptions
from query.relevancy import relevancy
from workspace.record_types import FeatureSettings

OTHERS = ("a bicycle", "a dog", "a sailing boat", "a horse", "an elephant", "a laptop computer", "a banana")
SMALLEST = 0.005  # share of the picture below which a segment is no answer
SEGMENTS = range(8, 2000)  # plausible number of segments of one photograph, all levels together


@dataclass(frozen=True)
class Photograph:
    """A photograph that comes with scikit-image: CC0, or in the public domain."""

    name: str
    """Of the function in skimage.data."""
    phrase: str
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels: where the thing is."""

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """The RGB picture."""
        from skimage import data

        return getattr(data, self.name)()


PHOTOGRAPHS = (
    Photograph("coffee", "a cup of coffee", (75, 15, 480, 388)),
    Photograph("chelsea", "a cat", (0, 0, 451, 300)),
    Photograph("rocket", "a rocket", (285, 120, 360, 410)),
)
PHRASES = tuple(photograph.phrase for photograph in PHOTOGRAPHS) + OTHERS


@dataclass(frozen=True)
class Answer:
    """What an extractor says of one photograph."""

    photograph: Photograph
    best: str
    """Phrase of the highest relevancy."""
    score: float
    """Relevancy of the true phrase."""
    rival: tuple[str, float]
    """The best of the other phrases."""
    point: tuple[int, int]
    """Where the true phrase is, x and y in pixels."""
    facts: str
    """Counts and norms."""
    plausible: bool
    """Whether the counts and norms are in the range of trained weights."""

    @property
    def right(self) -> bool:
        """Whether the true phrase wins, at the right place."""
        x0, y0, x1, y1 = self.photograph.box
        return self.best == self.photograph.phrase and x0 <= self.point[0] < x1 and y0 <= self.point[1] < y1

    def __str__(self) -> str:
        x, y = self.point
        return (
            f"{self.photograph.name}: '{self.photograph.phrase}' {self.score:.3f} at ({x}, {y}), next '{self.rival[0]}' "
            f"{self.rival[1]:.3f}; {self.facts}: {'right' if self.right else 'WRONG'}{'' if self.plausible else ', IMPLAUSIBLE'}"
        )


def answers(options: PreprocessConfig, text: TextOptions, device: torch.device) -> Iterator[Answer]:
    """The extractor of `options` and its text encoder on every photograph.

    Raises:
        InputError: weights are missing or damaged.
    """
    spec = spec_of(options.features)
    extractor = spec.load(options, device)
    encoder = spec.text_encoder(FeatureSettings(options.features, **spec.settings(options)), device, text)
    for photograph in PHOTOGRAPHS:
        yield judged(photograph, extractor(photograph.read()), encoder)


def judged(photograph: Photograph, found: Segments | PatchGrid, encoder: TextEncoder) -> Answer:
    """The phrases compared with the features of a photograph."""
    embeddings, places, facts, plausible = _segments(found) if isinstance(found, Segments) else _patches(found)
    phrases, negatives = encoder.embed(PHRASES).cpu().float(), encoder.embed(encoder.negatives).cpu().float()
    unit = torch.nn.functional.normalize(torch.from_numpy(embeddings).float(), dim=-1)
    scores = relevancy(unit, phrases, negatives, encoder.temperature)
    peaks = scores.amax(1)
    true = PHRASES.index(photograph.phrase)
    others = peaks.clone()
    others[true] = -1
    height, width = photograph.read().shape[:2]
    y, x = places(int(scores[true].argmax()))
    return Answer(
        photograph,
        PHRASES[int(peaks.argmax())],
        float(peaks[true]),
        (PHRASES[int(others.argmax())], float(others.max())),
        (int(x * width), int(y * height)),
        facts,
        plausible and bool(peaks.isfinite().all()),
    )


Places = Callable[[int], tuple[float, float]]  # index of a row -> y, x as shares of the picture


def _segments(found: Segments) -> tuple[Float[np.ndarray, "m d"], Places, str, bool]:
    masks: list[Bool[np.ndarray, "h w"]] = []
    rows = []
    for level in found.maps:
        for row in np.unique(level[level >= 0]):
            mask = level == row
            if mask.mean() >= SMALLEST:
                rows.append(int(row))
                masks.append(mask)

    def place(index: int) -> tuple[float, float]:
        y, x = np.nonzero(masks[index])
        return float(np.median(y) + 0.5) / masks[index].shape[0], float(np.median(x) + 0.5) / masks[index].shape[1]

    count = len(found.embeddings)
    if not rows:  # nothing to compare: a row that no phrase resembles
        return np.zeros((1, found.embeddings.shape[1]), np.float32), lambda _: (0.0, 0.0), f"{count} segments", False
    return found.embeddings[rows], place, f"{count} segments, {len(rows)} large enough", count in SEGMENTS


def _patches(found: PatchGrid) -> tuple[Float[np.ndarray, "m d"], Places, str, bool]:
    rows, columns, width = found.tokens.shape
    tokens = found.tokens.reshape(-1, width).astype(np.float32)
    norms = np.linalg.norm(tokens, axis=1)
    low, middle, high = np.percentile(norms, (1, 50, 99))
    spread = float(np.linalg.norm((tokens / norms[:, None]).mean(0)))
    facts = f"{rows}x{columns} tokens, norms {low:.1f} {middle:.1f} {high:.1f} (1, 50, 99 %), length of their mean {spread:.2f}"
    # of a network that ignores the picture all tokens are alike; artefact tokens have many times the usual norm
    plausible = bool(np.isfinite(norms).all() and high < 5 * middle and spread < 0.98)
    return tokens, lambda i: ((i // columns + 0.5) / rows, (i % columns + 0.5) / columns), facts, plausible


def verdict(found: Sequence[Answer]) -> tuple[bool, str]:
    """Whether the weights pass, and a sentence for a bug report."""
    right = sum(answer.right for answer in found)
    chance = f"by chance one in {len(PHRASES) ** len(found):,}"
    if right == len(found) and all(answer.plausible for answer in found):
        return True, f"passes by meaning: {right} of {len(found)} photographs ({chance})"
    reason = "the weights or their preparation do not belong together, or are random"
    return False, f"FAILS by meaning: {right} of {len(found)} photographs right; {reason}"
