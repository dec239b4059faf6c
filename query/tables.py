"""Answers as text tables for the terminal."""

import unicodedata
from collections.abc import Sequence
from statistics import fmean

from query.asking import Row

_PHRASE = 60  # maximum columns of a phrase on the terminal; the JSON files have all of it
_JOINERS = "\u200c\u200d"  # parts of Persian words and of emoji
_INVISIBLE = ("Mn", "Me", "Cf")  # Unicode categories of marks that take no column


def shortened(phrase: str) -> str:
    """A phrase for one cell of a table: in one line, without control characters, at most 60 columns."""
    begun = phrase[: 4 * _PHRASE]
    shown = " ".join("".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in begun).split())
    if begun == phrase and _columns(shown) <= _PHRASE:
        return shown
    while _columns(shown) > _PHRASE - 3:
        shown = shown[:-1]
    return f"{shown}..."


def counted(number: int, thing: str) -> str:
    """A count with its noun, such as "1 instance" or "2,000 Gaussians"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to the widest entry: the first left-aligned, the others right-aligned."""
    widths = [max(_columns(row[i]) for row in (heading, *rows)) for i in range(len(heading))]

    def line(cells: Sequence[str]) -> str:
        padding = [" " * (width - _columns(cell)) for cell, width in zip(cells, widths, strict=True)]
        return "  ".join([cells[0] + padding[0], *(p + c for c, p in zip(cells[1:], padding[1:], strict=True))])

    return "\n".join([line(heading), "  ".join("-" * width for width in widths), *map(line, rows)])


def _columns(text: str) -> int:
    """Columns of a terminal that a text takes; East Asian characters take two."""
    return sum(
        0 if unicodedata.category(letter) in _INVISIBLE else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def top_table(rows: Sequence[Row]) -> str:
    """One line per phrase without ground truth: where it answers best."""
    lines = []
    for phrase in dict.fromkeys(row.phrase for row in rows):
        found = [row for row in rows if row.phrase == phrase]
        best = max(found, key=lambda row: row.score)
        lines.append(
            [
                shortened(phrase),
                {True: "yes", False: "no", None: "-"}[best.present],
                f"{best.score:.3f}",
                best.level,
                best.image,
                f"{best.point[0]},{best.point[1]}",
                f"{fmean(row.score for row in found):.3f}",
            ]
        )
    return table(["phrase", "there", "best score", "level", "view", "point", "mean score"], lines)
