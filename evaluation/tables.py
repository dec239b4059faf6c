"""Figures of evaluations as text tables for the terminal."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from query.tables import table

MEASURES = {  # key in a summary -> heading
    "localization_accuracy": "localisation",
    "miou": "mIoU",
    "argmax_miou": "arg-max mIoU",
    "shuffled_localization_accuracy": "control loc.",
    "shuffled_miou": "control mIoU",
}


def summary_table(figures: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures of one scene: all labelled views, then training and held-out views when there are both."""
    shown = [name for name in MEASURES if name in figures]
    parts = {"all": figures, **splits} if len(splits) > 1 else {f"{split} views": values for split, values in splits.items()}

    def cells(values: Mapping[str, Any]) -> list[str]:
        found = [percent(values[name]) for name in shown]
        found[0] += f" ({values['localization_hits']}/{values['queries']})"
        return [str(values["views"]), *found]

    rows = [[name, *cells(values)] for name, values in parts.items()]
    return table(["", "views", *(MEASURES[name] for name in shown)], rows)


def runs_table(spread: Mapping[str, Mapping[str, Any]], runs: int) -> str:
    """Mean and spread over several runs."""
    rows = [
        [heading, percent(spread[name]["mean"]), percent(spread[name]["std"]), "  ".join(map(percent, spread[name]["values"]))]
        for name, heading in MEASURES.items()
        if name in spread
    ]
    return table([f"over {runs} runs", "mean", "std", "each"], rows)


def percent(value: float) -> str:
    """A fraction in [0, 1] as per cent."""
    return f"{100 * value:.1f}"


def with_spread(values: Sequence[float | None]) -> str:
    """Mean of fractions in [0, 1] as per cent, with the standard deviation of two or more; "-" if one is undefined (None)."""
    if None in values:
        return "-"
    return percent(fmean(values)) + (f"±{percent(stdev(values))}" if len(values) > 1 else "")


def scenes_with_spread(scenes: Sequence[Sequence[float | None]]) -> str:
    """Mean over the scenes as per cent; the values of a scene are of its repetitions, [0, 1] or None.

    If all scenes have the same number of repetitions, the first of each make up the first run of the benchmark and so on, and the
    standard deviation over these runs is added.
    """
    if any(None in values for values in scenes):
        return "-"
    if len({len(values) for values in scenes}) == 1:
        return with_spread([fmean(run) for run in zip(*scenes, strict=True)])
    return percent(fmean(fmean(values) for values in scenes))
