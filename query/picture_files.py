"""Answers of one view as picture files in the model folder."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from query.asking import AnsweredView, Row
from query.pictures import blend, encoded, mask_picture, overlay, painting
from workspace import atomic
from workspace.answer_folder import AnswerFolder
from workspace.slugs import slug

log = logging.getLogger(__name__)

PLATEAU = 100  # pixels sharing the maximum; more indicate a map without contrast
PAINT_OPACITY = 0.65


def write_pictures(folder: AnswerFolder, answered: AnsweredView, photo: UInt8[np.ndarray, "h w 3"], num_classes: int) -> None:
    """Write an overlay and a mask per phrase, and the painted classes where phrases compete."""
    pictures = {}
    for phrase, found in answered.answers.items():
        name = slug(phrase)
        pictures[name] = overlay(photo, found)
        pictures[f"{name}.mask"] = mask_picture(found.mask.cpu().numpy())
    if answered.classes is not None:
        pictures["classes"] = blend(photo, painting(answered.classes, num_classes), PAINT_OPACITY)
    for name, picture in pictures.items():
        with atomic(folder.picture(answered.view.name, name)) as temporary:
            temporary.write_bytes(encoded(picture, ".png"))


def warn_of_plateaus(rows: Sequence[Row]) -> None:
    """Log how many answers come from maps without contrast."""
    flat = [row for row in rows if row.ties > PLATEAU]
    if flat:
        log.warning(
            "%d of %d answers have no contrast: more than %d pixels share the maximum, and any of them counts as the point "
            "(first: %r in %s). The field may be untrained there.",
            len(flat), len(rows), PLATEAU, flat[0].phrase, flat[0].image,
        )  # fmt: skip
