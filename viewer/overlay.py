"""What is laid over the scene, per Gaussian: colours of the answer, and which Gaussians are there after an edit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from query.objects.saving import removed_mask
from query.phrase_answer import PhraseAnswer
from query.pictures import class_colors, turbo
from viewer.state import ViewState

MASK_COLOR = (0.20, 0.85, 1.0)  # RGB in [0, 1]; rare in photographs
DIMMED = 0.55  # share of its brightness that the rest of the scene loses under an opaque overlay


@dataclass(frozen=True, eq=False)
class Overlay:
    """Colours over the Gaussians."""

    colors: Float[np.ndarray, "n 3"]
    """RGB in [0, 1]."""
    strength: Float[np.ndarray, " n"]
    """How much of a Gaussian the colour replaces at full opacity, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Edited:
    """The scene after an edit."""

    kept: Bool[np.ndarray, " n"] | None = None
    """Gaussians that are there; None for all."""
    painted: Bool[np.ndarray, " n"] | None = None
    """Gaussians in the state's colour; None for none."""


UNEDITED = Edited()


def overlay_of(state: ViewState, answer: PhraseAnswer | None) -> Overlay | None:
    """The overlay that the visitor has chosen; None for the photograph alone."""
    if answer is None or state.show == "Photograph":
        return None
    if state.show == "Relevancy":
        return _heat(answer, state.threshold)
    if state.show == "Mask":
        return Overlay(np.broadcast_to(np.float32(MASK_COLOR), (len(answer.relevancy), 3)), answer.gaussians.astype(np.float32))
    palette = class_colors(len(answer.instances)).astype(np.float32) / 255
    colors = np.zeros((len(answer.relevancy), 3), np.float32)
    for color, instance in zip(palette, answer.instances, strict=True):
        colors[instance.members] = color
    return Overlay(colors, answer.gaussians.astype(np.float32))


def edited(state: ViewState, answer: PhraseAnswer | None) -> Edited:
    """The chosen edit of the answer's instances; nothing is edited when there is no instance."""
    if answer is None or not answer.instances or state.edit == "Everything":
        return UNEDITED
    if state.edit == "Only the object":
        return Edited(kept=answer.gaussians)
    if state.edit == "Without the object":
        means = answer.model.gaussians.means.cpu().numpy()
        return Edited(kept=~removed_mask(answer.found, answer.model.finder.known, means))
    return Edited(painted=answer.gaussians)


def _heat(answer: PhraseAnswer, threshold: float) -> Overlay:
    """Relevancy from the threshold to the scene's highest as colours from blue to red; nothing below the threshold."""
    heat = np.clip((answer.relevancy - threshold) / max(answer.compared.best - threshold, 1e-3), 0, 1)
    shades = (turbo().astype(np.float32) / 255)[np.rint(40 + heat * 215).astype(np.uint8)]  # the darkest blues would look unlit
    return Overlay(shades, np.sqrt(heat).astype(np.float32))
