#!/usr/bin/env python3
"""What failed in a run, why, and the command to look. Standard library only.

    workflow/scripts/failures.py output/scenes

A job appends to <name>.log and, when it succeeded, Snakemake writes <name>.done beside it: a log without that marker is
of a job that failed, was killed, or is still running.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL = 16_384  # bytes of a log that are searched for the reason
PROGRESS = re.compile(r"\d+%\|.*\||^\s*$|^\+ |^GPU ")  # progress bars, and what run_job.py says before the command
LONGEST = 300  # characters of a reason
SHOWN = 50  # failures listed; the rest are counted


@dataclass(frozen=True)
class Failure:
    """A job without its marker: its name below the output folder, the last line that it wrote, and its log."""

    job: str
    reason: str
    log: Path


def failures(output: Path) -> list[Failure]:
    """Jobs of an output folder that were started and have not succeeded, by name."""
    folder = output / "workflow"
    unfinished = [log for log in sorted(folder.rglob("*.log")) if not log.with_suffix(".done").exists()]
    return [Failure(log.relative_to(folder).with_suffix("").as_posix(), reason(log), log) for log in unfinished]


def write_failures(output: Path) -> None:
    """Write workflow/failures.json, which the index page reads; logs are relative to the output folder."""
    rows = [{"job": f.job, "reason": f.reason, "log": f.log.relative_to(output).as_posix()} for f in failures(output)]
    path = output / "workflow" / "failures.json"
    temporary = path.with_name(f".failures.{os.getpid()}.partial.json")
    temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def reason(log: Path) -> str:
    """The last line of a log that is no progress bar; what to suspect where a job ended without a word."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        text = file.read().decode(errors="replace")
    if not text.strip():  # run_job.py writes the command first
        return "its command never started: its submission failed earlier or was refused, or the driver was stopped"
    ended = text.rpartition("\n+ ")[2].partition("\n")[2]  # what the last try wrote
    lines = [line.strip() for line in re.split(r"[\r\n]+", ended) if line.strip() and not PROGRESS.search(line)]
    errors = [line for line in lines if re.match(r"error: |\w*(Error|Exception)\b|slurmstepd: ", line)]
    if errors:
        return errors[-1][:LONGEST]
    last = f"; its last line: {lines[-1][:LONGEST]}" if lines else ""
    return f"ended without an error message: killed, out of memory or out of time{last}"


def summary(outputs: Sequence[Path]) -> str:
    """The failures of several output folders as text, empty if there are none."""
    found = [failure for output in outputs for failure in failures(output)]
    if not found:
        return ""
    lines = [f"{len(found)} job{'s' if len(found) > 1 else ''} failed or did not end; everything that did not need them is done:"]
    for failure in found[:SHOWN]:
        lines += [f"  {failure.job}: {failure.reason}", f"    look: less +G {shlex.quote(str(failure.log))}"]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    return "\n".join([*lines, "The same command continues. Under Slurm, .snakemake/slurm_logs has what the scheduler said."])


if __name__ == "__main__":
    sys.stdout.write(summary([Path(name) for name in sys.argv[1:]]) or "nothing failed")
    sys.stdout.write("\n")
