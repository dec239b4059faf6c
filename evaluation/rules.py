"""Rules by name that turn the relevancy maps of a view into a mask and a point. Each has a file in `protocols` and a line here.

State the rule with every figure: masks of different rules are not comparable.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from evaluation.protocols import langsplat_v2, ludvig, mipnerf360_gags, occam
from query import answer_rule as langsplat
from query.answer_rule import Answer, Rule
from workspace import InputError

RuleName = Literal["langsplat", "langsplat_v2", "gags", "ludvig_uplifted", "ludvig_diffused", "occam", "occam_script"]
DEFAULT_THRESHOLD = 0.4  # for every rule that takes a threshold


@dataclass(frozen=True)
class _Named:
    function: Callable[..., Answer]
    takes_threshold: bool
    """False when the rule computes its threshold from the map."""


_RULES: Mapping[RuleName, _Named] = {
    "langsplat": _Named(langsplat.answer, True),
    "langsplat_v2": _Named(langsplat_v2.answer, True),
    "gags": _Named(mipnerf360_gags.answer, True),
    "ludvig_uplifted": _Named(ludvig.uplifted, False),
    "ludvig_diffused": _Named(ludvig.diffused, False),
    "occam": _Named(occam.answer, False),
    "occam_script": _Named(partial(occam.answer, stability=occam.SCRIPT), False),
}
assert set(_RULES) == set(get_args(RuleName))


def rule(name: RuleName, mask_thresh: float = DEFAULT_THRESHOLD) -> Rule:
    """The rule of that name.

    Raises:
        InputError: `mask_thresh` is outside [0, 1), or was changed for a rule that computes its threshold.
    """
    if not 0 <= mask_thresh < 1:
        raise InputError(f"--mask_thresh {mask_thresh} is outside [0, 1).")
    named = _RULES[name]
    if named.takes_threshold:
        return partial(named.function, mask_thresh=mask_thresh)
    if mask_thresh != DEFAULT_THRESHOLD:
        raise InputError(f"--rule {name} finds its threshold in the map; leave out --mask_thresh.")
    return named.function


def takes_threshold(name: RuleName) -> bool:
    """Whether `--mask_thresh` is part of the rule."""
    return _RULES[name].takes_threshold
