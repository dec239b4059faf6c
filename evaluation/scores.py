"""Figures of an evaluation: means over its rows, one row per view and phrase."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from evaluation.judging import JudgedRow
from query.asking import Row
from query.views import HELD_OUT, TRAINING


def summary(rows: Sequence[JudgedRow]) -> dict[str, Any]:
    """Means over the rows with ground truth: over all (view, phrase) pairs as published, by phrase, and by view.

    A measure without values has no entry.
    """
    judged = [row for row in rows if row.iou is not None]
    if not judged:
        return {}
    hits = sum(bool(row.localized) for row in judged)
    result: dict[str, Any] = {
        "queries": len(judged),
        "views": len({row.image for row in judged}),
        "localization_accuracy": hits / len(judged),
        "localization_hits": hits,
        "miou": fmean(row.iou for row in judged),
        "miou_by_phrase": _macro(judged, lambda row: row.phrase),
        "miou_by_view": _macro(judged, lambda row: row.image),
    }
    for name, field in (
        ("argmax_miou", "argmax_iou"),
        ("shuffled_miou", "shuffled_iou"),
        ("shuffled_localization_accuracy", "shuffled_localized"),
    ):
        values = [value for row in judged if (value := getattr(row, field)) is not None]
        if values:
            result[name] = fmean(values)
    return result


def by_split(rows: Sequence[JudgedRow]) -> dict[str, dict[str, Any]]:
    """Summary of the training views and of the held-out views, where there are any."""
    found = {split: summary([row for row in rows if row.split == split]) for split in (TRAINING, HELD_OUT)}
    return {split: values for split, values in found.items() if values}


def weighted_by_query(summaries: Sequence[Mapping[str, Any]], name: str) -> float:
    """Mean of a measure over the (view, phrase) pairs of several scenes; papers print the mean over scenes instead."""
    return sum(s[name] * s["queries"] for s in summaries) / sum(s["queries"] for s in summaries)


def over_runs(summaries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean, sample standard deviation and values of every measure that all runs share.

    A measure that is undefined in a run (None, such as GOI's precision of an empty mask) has neither mean nor deviation.
    """
    spread = {}
    for name in summaries[0]:
        values = [s[name] for s in summaries if name in s]
        if len(values) < len(summaries) or name in ("queries", "views"):
            continue
        defined = None not in values
        spread[name] = {
            "mean": fmean(values) if defined else None,
            "std": (stdev(values) if len(values) > 1 else 0.0) if defined else None,
            "values": values,
        }
    return spread


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as JSON objects, without the measures that are None."""
    return [{name: value for name, value in asdict(row).items() if value is not None} for row in rows]


def _macro(rows: Sequence[JudgedRow], group: Callable[[JudgedRow], str]) -> float:
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row.iou)
    return fmean(fmean(values) for values in groups.values())
