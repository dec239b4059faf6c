"""Results as text tables for the terminal."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from evaluation.scores import Row

MEASURES = {  # key in a summary -> heading
    "localization_accuracy": "localisation",
    "miou": "mIoU",
    "argmax_miou": "arg-max mIoU",
    "shuffled_localization_accuracy": "control loc.",
    "shuffled_miou": "control mIoU",
}


_PHRASE = 60  # characters of a phrase on the terminal; metrics.json has all of it


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest entry: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in (heading, *rows)) for i in range(len(heading))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])

    return "\n".join([line(heading), "  ".join("-" * width for width in widths), *map(line, rows)])


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


def top_table(rows: Sequence[Row]) -> str:
    """One line per phrase without ground truth: where it answers best."""
    lines = []
    for phrase in dict.fromkeys(row.phrase for row in rows):
        found = [row for row in rows if row.phrase == phrase]
        best = max(found, key=lambda row: row.score)
        lines.append(
            [
                phrase if len(phrase) <= _PHRASE else phrase[: _PHRASE - 3] + "...",
                f"{best.score:.3f}",
                best.level,
                best.image,
                f"{best.point[0]},{best.point[1]}",
                f"{fmean(row.score for row in found):.3f}",
            ]
        )
    return table(["phrase", "best score", "level", "view", "point", "mean score"], lines)


def runs_table(spread: Mapping[str, Mapping[str, Any]], runs: int) -> str:
    """Mean and spread over several runs."""
    rows = [
        [heading, percent(spread[name]["mean"]), percent(spread[name]["std"]), "  ".join(map(percent, spread[name]["values"]))]
        for name, heading in MEASURES.items()
        if name in spread
    ]
    return table([f"over {runs} runs", "mean", "std", "each"], rows)


def percent(value: float) -> str:
    """A part of one as per cent."""
    return f"{100 * value:.1f}"
