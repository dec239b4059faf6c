"""Mip-NeRF360-OV with GAGS' labels: LangSplat's evaluator on a single level (WHU-USI3DV/GAGS@2d15ac51).

Labels are outlines in the format of LERF-OVS; every labelled (view, phrase) counts, and the mean is over all of them.
"""

from jaxtyping import Float
from torch import Tensor

from query import answer as langsplat
from query.answer import Answer
from workspace import InputError


def answer(relevancy: Float[Tensor, "levels h w"], mask_thresh: float = 0.4) -> Answer:
    """Answer one phrase from the map of one level.

    Raises:
        InputError: there are several levels; the protocol does not choose.
    """
    if len(relevancy) != 1:
        raise InputError(f"GAGS' protocol reads one level and found {len(relevancy)}. Choose one with --level.")
    return langsplat.answer(relevancy, mask_thresh)
