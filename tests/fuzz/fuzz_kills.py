"""Every stage killed (SIGKILL) at random moments and while a file is half written; the same command then ends in the same files.

    PYTHONPATH=.:tests python tests/fuzz/fuzz_kills.py --kills 100 --seed 1

A stage is forked from a process that has imported everything, so that a kill costs little. Prints a line per stage.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # set before torch is imported: its threads would not survive a fork
ROOT = Path(__file__).resolve().parents[2]
# Measured times; and lists of what was written, in which a killed run appears.
VOLATILE = re.compile(r"sec|time|^at$|duration|rate|memory|wall", re.IGNORECASE)
PASSED_OVER = re.compile(r"tensorboard/|/\.files$|\.html$|\.log$|convert/|metrics\.jsonl$")


@dataclass(frozen=True)
class Stage:
    """A command of the pipeline, and whether its files are the same in every run."""

    name: str
    command: tuple[str, ...]
    exact: bool = True
    forked: bool = True


STAGES = (
    Stage("preprocess", ("preprocess.py", "-s", "scene", "--features", "mini")),
    Stage("train_autoencoder", ("train_autoencoder.py", "-s", "scene", "-m", "model", "--epochs", "8")),
    Stage("train", ("train.py", "-s", "scene", "-m", "model", "--eval", "--preset", "fast", "--iterations", "80",
                    "--checkpoint_interval", "7")),
    Stage("train language", ("train.py", "-s", "scene", "-m", "model", "--include_feature", "--iterations", "60",
                             "--checkpoint_interval", "7")),
    Stage("render", ("render.py", "-m", "model")),
    Stage("eval_query", ("eval_query.py", "-m", "model", "--text", "red ball", "cup", "--device", "cpu")),
    Stage("convert", ("convert.py", "-s", "photographs", "-o", "converted", "--num_features", "1000", "--mapper", "global",
                      "--num_threads", "1"), exact=False, forked=False),
)  # fmt: skip


def start(stage: Stage, work: Path) -> int:
    """Begin the stage in `work` and return the id of its process, which leads a group of its own."""
    if not stage.forked:
        log = (work.parent / "stage.log").open("ab")
        script, *rest = stage.command
        command = [sys.executable, str(ROOT / script), *rest]
        return subprocess.Popen(command, cwd=work, stdout=log, stderr=log, start_new_session=True).pid
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        os.chdir(work)
        log = os.open(work.parent / "stage.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = [str(ROOT / stage.command[0]), *stage.command[1:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:  # noqa: BLE001 - the parent reads it in the log
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def finish(pid: int) -> int:
    """Exit code of the process; 128 and more for signals."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) % 256


def kill_when(stage: Stage, work: Path, due: Callable[[], bool]) -> bool:
    """Kill the stage, and no process besides, when `due` says so; whether it was still running."""
    pid = start(stage, work)
    while not due():
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            if os.waitstatus_to_exitcode(status):
                raise RuntimeError(f"{stage.name} failed by itself:\n{tail(work)}")
            return False
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    finish(pid)
    return True


def at_random(rng: random.Random, seconds: float) -> Callable[[], bool]:
    """Due after a random part of the time that the stage takes."""
    end = time.monotonic() + rng.uniform(0.02, 1.0) * seconds
    return lambda: time.monotonic() > end


def at_a_partial_file(rng: random.Random, work: Path) -> Callable[[], bool]:
    """Due when the first, second, ... file is seen half written."""
    left, seen = rng.choice((1, 1, 2, 3, 6, 12)), set()

    def due() -> bool:
        for folder, _, names in os.walk(work):
            seen.update(f"{folder}/{name}" for name in names if ".partial" in name)
        return len(seen) >= left

    return due


def tail(work: Path) -> str:
    """End of the stage's output."""
    return (work.parent / "stage.log").read_text(errors="replace")[-3000:]


def contents(work: Path) -> dict[str, str]:
    """What is comparable of every file, by path: a hash; of JSON the values that are no measured times."""
    found = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if not path.is_file():
            continue
        if PASSED_OVER.search(name):
            found[name] = "there"
        elif path.suffix == ".json":
            found[name] = json.dumps(_lasting(json.loads(path.read_text())), sort_keys=True)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _lasting(value: object) -> object:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if not VOLATILE.search(key)}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def difference(stage: Stage, expected: dict[str, str], found: dict[str, str]) -> str:
    """What differs, or nothing. Of a stage that is not exact the names of the files count."""
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    changed = [name for name in expected.keys() & found.keys() if expected[name] != found[name]] if stage.exact else []
    photographs = [name for name in changed if "photographs/" in name or name.startswith("scene/images/")]
    parts = {"missing": missing, "left over": more, "changed": sorted(changed), "photographs touched": photographs}
    return "; ".join(f"{kind}: {', '.join(names[:6])}" for kind, names in parts.items() if names)


def restore(snapshot: Path, work: Path) -> None:
    """`work` as it was."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(snapshot, work, symlinks=True)


def trial(stage: Stage, before: Path, after: dict[str, str], work: Path, rng: random.Random, seconds: float) -> tuple[int, str]:
    """Kill the stage one to three times, let it finish, and compare: the number of kills, and what is wrong."""
    restore(before, work)
    kills = 0
    for _ in range(rng.choice((1, 1, 2, 3))):
        due = at_a_partial_file(rng, work) if rng.random() < 0.5 else at_random(rng, seconds)
        kills += kill_when(stage, work, due)
    code = finish(start(stage, work))
    if code:
        return kills, f"exit code {code}:\n{tail(work)}"
    return kills, difference(stage, after, contents(work))


def write_input(work: Path) -> None:
    """A small scene, and photographs to convert."""
    from corner_room import write_photographs
    from small_scene import write_small_scene

    (work / "scene").mkdir(parents=True)
    write_small_scene(work / "scene")
    write_photographs(work / "photographs", count=6)


def fuzz(kills: int, seed: int, only: str) -> int:
    """Kill the stages in turn until there were `kills`; the number of failures."""
    import torch

    for name in ("features.preprocessing", "autoencoder.stage", "training.language", "training.rgb_trainer", "evaluation.stage"):
        importlib.import_module(name)  # once, for all stages
    torch.set_num_threads(1)
    failures, total = 0, 0
    with tempfile.TemporaryDirectory() as root:
        work, states, times, ends = Path(root) / "work", {}, {}, {}
        write_input(work)
        chosen = [stage for stage in STAGES if only in stage.name]
        for stage in STAGES[: STAGES.index(chosen[-1]) + 1]:
            shutil.copytree(work, Path(root) / stage.name, symlinks=True)
            begin = time.monotonic()
            code = finish(start(stage, work))
            if code:
                raise RuntimeError(f"{stage.name} fails without being killed, exit code {code}:\n{tail(work)}")
            states[stage], times[stage], ends[stage] = Path(root) / stage.name, time.monotonic() - begin, contents(work)
            print(f"{stage.name}: {times[stage]:.1f} s", flush=True)
        counts, number = dict.fromkeys(chosen, 0), 0
        while total < kills:
            stage = chosen[number % len(chosen)]
            done, wrong = trial(stage, states[stage], ends[stage], work, random.Random(f"{seed} {number}"), times[stage])
            counts[stage] += done
            total += done
            number += 1
            if wrong:
                failures += 1
                print(f"trial {number - 1}, {stage.name}: {wrong}", flush=True)
        for stage in chosen:
            print(f"{stage.name:18} {counts[stage]:4} kills")
    print(f"{total} kills in {number} trials, {failures} failures")
    return failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a stage's name")
    arguments = parser.parse_args()
    sys.exit(bool(fuzz(arguments.kills, arguments.seed, arguments.only)))
