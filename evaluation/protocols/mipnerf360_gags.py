"""Mip-NeRF360-OV with GAGS' labels: LangSplat's evaluator on a single level (WHU-USI3DV/GAGS@2d15ac51).

Labels are outlines in the format of LERF-OVS; every labelled (view, phrase) counts, and the mean is over all of them.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from evaluation.labels import read_lerf_ovs
from evaluation.protocol import LabelProtocol, LabelSet, Measure, match_by_name
from query import answer_rule as langsplat
from query.answer_rule import Answer
from workspace import InputError

log = logging.getLogger(__name__)


def answer(relevancy: Float[Tensor, "levels h w"], mask_thresh: float = 0.4) -> Answer:
    """Answer one phrase from the map of one level.

    Raises:
        InputError: there are several levels; the protocol does not choose.
    """
    if len(relevancy) != 1:
        raise InputError(f"GAGS' protocol reads one level and found {len(relevancy)}. Choose one with --level.")
    return langsplat.answer(relevancy, mask_thresh)


def read(folder: Path) -> LabelSet:
    """Outlines per picture; InputError when the folder holds none."""
    return LabelSet(read_lerf_ovs(folder))


def gags_views(names: Sequence[str], keys: Sequence[str], training: Sequence[str]) -> dict[str, str]:
    """Image key of every label of GAGS.

    A label named like an image belongs to that image. The published evaluator reads `frame_<number>` as the 1-based index into
    the training views sorted by name. That is wrong whenever the list differs from the authors', so it is only used when no
    image has the label's name, with a warning.

    Raises:
        InputError: a label is neither an image name nor an index into the list.
    """
    by_place = [re.fullmatch(r"frame_(\d+)", name) for name in names]
    named_like_images = {Path(key).name for key in keys}
    if not all(by_place) or any(name in named_like_images for name in names):
        return match_by_name(names, keys)
    places = {name: int(found.group(1)) for name, found in zip(names, by_place, strict=True)}
    ordered = sorted(training)
    beyond = [name for name, place in places.items() if not 1 <= place <= len(ordered)]
    if beyond:
        raise InputError(
            f"Labels {', '.join(beyond)} lie beyond the {len(ordered)} training views, whose places GAGS names its labels by. "
            "Train on the same photographs as the labels were made for."
        )
    log.warning(
        "Labels are matched to views by their place in the sorted list of %d training views, as GAGS does: %s",
        len(ordered),
        ", ".join(f"{name} is {ordered[place - 1]}" for name, place in places.items()),
    )
    return {name: ordered[place - 1] for name, place in places.items()}


PROTOCOL = LabelProtocol(
    read,
    ("room", "counter", "garden", "bonsai"),
    (
        Measure(
            "miou",
            "mIoU, %",
            {  # from LangSplatV2's table
                "LangSplat": (53.2, 68.8, 51.9, 55.4, 57.3),
                "GOI": (60.3, 46.6, 59.8, 67.3, 58.5),
                "GAGS": (65.2, 61.1, 61.2, 70.5, 64.5),
                "LangSplatV2": (64.3, 75.1, 65.0, 73.1, 69.4),
            },
        ),
    ),
    match=gags_views,
)
