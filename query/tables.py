"""Answers as text tables for the terminal."""

from collections.abc import Sequence
from statistics import fmean

from query.asking import Row

_PHRASE = 60  # maximum characters of a phrase on the terminal; metrics.json has all of it


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to the widest entry: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in (heading, *rows)) for i in range(len(heading))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])

    return "\n".join([line(heading), "  ".join("-" * width for width in widths), *map(line, rows)])


def top_table(rows: Sequence[Row]) -> str:
    """One line per phrase without ground truth: where it answers best."""
    lines = []
    for phrase in dict.fromkeys(row.phrase for row in rows):
        found = [row for row in rows if row.phrase == phrase]
        best = max(found, key=lambda row: row.score)
        lines.append(
            [
                phrase if len(phrase) <= _PHRASE else phrase[: _PHRASE - 3] + "...",
                {True: "yes", False: "no", None: "-"}[best.present],
                f"{best.score:.3f}",
                best.level,
                best.image,
                f"{best.point[0]},{best.point[1]}",
                f"{fmean(row.score for row in found):.3f}",
            ]
        )
    return table(["phrase", "there", "best score", "level", "view", "point", "mean score"], lines)
