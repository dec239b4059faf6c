"""One page over everything in an output folder: pictures, figures, times, and links to every report.

`python -m evaluation.index_page -o output` writes `output/index.html`. It reads what the stages wrote and needs no server; run it
again while results arrive.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from evaluation.index_entries import Entry, Unfinished, find_models, read_entry, read_unfinished
from evaluation.index_html import page
from workspace import InputError, atomic, command_line

NAME = "index.html"


@dataclass(frozen=True)
class IndexConfig:
    """What to list."""

    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output")
    """Folder that contains model folders at any depth; the page is written into it."""
    every: int = 0
    """Leave a page alone that is younger than this many seconds."""


def write_index(config: IndexConfig) -> None:
    """Write one page over all models below a folder, with links to their reports."""
    if not config.output_path.is_dir():
        raise InputError(f"No folder {config.output_path}. Name the folder of the models: -o output")
    path = config.output_path / NAME
    if config.every and path.exists() and time.time() - path.stat().st_mtime < config.every:
        return
    entries: list[Entry] = [read_entry(model, config.output_path) for model in find_models(config.output_path)]
    unfinished: list[Unfinished] = read_unfinished(config.output_path)
    with atomic(path) as temporary:
        temporary.write_text(page(entries, unfinished), encoding="utf-8")
    sys.stdout.write(f"{path}: {len(entries)} models, {len(unfinished)} failed jobs\n")


if __name__ == "__main__":
    command_line.run(write_index, IndexConfig)
