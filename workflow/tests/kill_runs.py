#!/usr/bin/env python3
"""A workflow killed at random moments continues, and ends in the same results as an undisturbed run.

    workflow/tests/kill_runs.py --driver .venv-driver/bin/snakemake --python .venv/bin/python --kills 10 -o /tmp/kills
    workflow/tests/kill_runs.py ... --slurm /tmp/cluster      kills also jobs and the node's daemon of slurm_cluster.sh

Two generated scenes, two shards of features each, one field of each kind. The undisturbed run is that of the local profile.
What is compared is the content of every file that the stages wrote; of logs and reports, which contain measured times, that they
are there. Left out are logs and markers of the workflow, pictures of the index page, and a shard's progress.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
from fuzz_kills import contents  # noqa: E402

SETTINGS = """
scenes: scenes
output: output
phrases: [red mug, book]
fields:
  - {{name: published, features: mini, method: autoencoder}}
  - {{name: lifted, features: mini, method: codebook}}
preset: fast
iterations: {iterations}
shards: 2
python: {python}
options: {{gaussians: [--checkpoint_interval, {interval}], language: [], compress: [--epochs, 8], preprocess: []}}
"""


def main() -> int:
    """Run undisturbed, then again with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--driver", type=Path, required=True, help="snakemake of the driver's environment")
    parser.add_argument("--python", type=Path, required=True, help="Python of the pipeline")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--slurm", type=Path, help="folder of slurm_cluster.sh, started")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    quiet = prepare(options, "undisturbed")
    begin = time.monotonic()
    code = start(options, quiet, slurm=False).wait()
    seconds = time.monotonic() - begin
    print(f"undisturbed: {seconds:.0f} s, exit code {code}", flush=True)
    if code:
        print(f"nothing to compare with; see {quiet}/driver.log")
        return 1
    expected = results(quiet)
    work = prepare(options, "killed")
    code, kills = disturb(options, work, rng, seconds, len(finished(quiet)))
    found = results(work)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    present = sum(value == "there" for value in expected.values())
    print(
        f"exit code {code} after {kills} kills; {len(expected)} files expected, {len(expected) - present} of them compared by "
        f"content and {present} by name; {len(different)} differ, are missing or are too many: {different[:10]}"
    )
    return int(bool(code or different or not expected or kills < options.kills))


def prepare(options: argparse.Namespace, name: str) -> Path:
    """A folder with two generated scenes and the settings."""
    work = options.output.resolve() / name
    for seed in (3, 4):
        command = [options.python.absolute(), "-m", "toy_world", "-s", work / "scenes" / f"world_{seed}", "--seed", str(seed)]
        size = ["--width", "96", "--height", "72", "--views", "9", "--objects", "6", "--points", "400"]
        subprocess.run([*command, *size], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    settings = {"iterations": options.iterations, "interval": max(1, options.iterations // 8)}
    (work / "settings.yaml").write_text(SETTINGS.format(python=options.python.absolute(), **settings))
    return work


def start(options: argparse.Namespace, work: Path, slurm: bool) -> subprocess.Popen:
    """The driver, in a process group of its own; a lock that a killed driver left is removed first."""
    command = [str(options.driver.absolute()), "-s", str(ROOT / "workflow" / "Snakefile"), "--configfile", "settings.yaml"]
    with (work / "driver.log").open("ab") as log:
        subprocess.run([*command, "--unlock"], cwd=work, stdout=log, stderr=log, check=False)
        profile = ROOT / "workflow" / "profiles" / ("slurm" if slurm else "local")
        command += ["--profile", str(profile), "--max-threads", "1"]
        if slurm:
            command += ["--default-resources", "slurm_account=lab", "slurm_partition=main", "--latency-wait", "10"]
            command += ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
        else:
            command += ["--cores", "2"]
        return subprocess.Popen(command, cwd=work, stdout=log, stderr=log, start_new_session=True)


def disturb(options: argparse.Namespace, work: Path, rng: random.Random, seconds: float, jobs: int) -> tuple[int, int]:
    """Kill the driver, a job or the node's daemon at random moments, then let the run end; its exit code and the kills."""
    kinds = ["driver", "job", *(["node"] if options.slurm else [])]
    moments = sorted(rng.randrange(jobs - 1) for _ in range(options.kills))  # in finished jobs, however fast the machine is
    driver, kills = start(options, work, bool(options.slurm)), {kind: 0 for kind in kinds}
    limit, code = time.monotonic() + 20 * max(60.0, seconds), 1
    while time.monotonic() < limit:
        time.sleep(0.1)
        if driver.poll() is not None:  # ended, or gave up after a job was killed
            if driver.returncode == 0:
                code = 0
                break
            driver = start(options, work, bool(options.slurm))
        elif moments and len(finished(work)) >= moments[0]:
            time.sleep(rng.uniform(0.0, 2 * seconds / jobs))
            kind = rng.choice(kinds)
            if kill(kind, driver, work, options, rng):
                moments.pop(0)
                kills[kind] += 1
                print(f"killed the {kind} after {len(finished(work))} of {jobs} jobs", flush=True)
            if kind == "driver":
                driver = start(options, work, bool(options.slurm))
    else:
        driver.kill()
    print("kills: " + ", ".join(f"{kind} {count}" for kind, count in kills.items()), flush=True)
    return code, sum(kills.values())


def kill(kind: str, driver: subprocess.Popen, work: Path, options: argparse.Namespace, rng: random.Random) -> bool:
    """Kill one thing with SIGKILL; whether there was one."""
    cluster = [str(ROOT / "workflow" / "tests" / "slurm_cluster.sh")]
    if kind == "driver":
        driver.kill()
        driver.wait()
    elif kind == "node":
        subprocess.run([*cluster, "node-kill", str(options.slurm)], check=True)
        time.sleep(2)
        subprocess.run([*cluster, "node-start", str(options.slurm)], check=True)
    else:
        jobs = stages(work)
        if not jobs:
            return False
        os.kill(rng.choice(jobs), signal.SIGKILL)
    return True


def stages(work: Path) -> list[int]:
    """Processes of the pipeline's commands that work on the models or scenes of this run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = [word.decode(errors="replace") for word in (folder / "cmdline").read_bytes().split(b"\0")[1:4]]
            script = next((word for word in words if word.startswith(str(ROOT)) and word.endswith(".py")), "run_job.py")
            if not script.endswith("run_job.py") and os.path.realpath(folder / "cwd") == str(work):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def finished(work: Path) -> list[Path]:
    """Markers of the jobs that have succeeded."""
    return list((work / "output" / "workflow").rglob("*.done"))


def results(work: Path) -> dict[str, str]:
    """Content of every file of scenes and models, without what belongs to the workflow; the folder's name is replaced."""
    files = {}
    for name in ("scenes", "output"):
        found = contents(work / name) if (work / name).is_dir() else {}
        files |= {f"{name}/{path}": value.replace(str(work), ".") for path, value in found.items()}
    skipped = re.compile(r"output/(workflow|thumbnails)/|metrics\.\d+of\d+\.jsonl$")
    return {name: value for name, value in files.items() if not skipped.search(name)}


if __name__ == "__main__":
    sys.exit(main())
