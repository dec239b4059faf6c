"""The workflow run by Snakemake: with a stand-in for the pipeline's Python, and once over a real scene, tiny.

Snakemake is in an environment of its own (requirements-workflow.txt; `make test-workflow` makes it and runs these).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = os.environ.get("SNAKEMAKE") or shutil.which("snakemake")
pytestmark = pytest.mark.skipif(
    not SNAKEMAKE, reason="Snakemake is not installed here: make test-workflow, or SNAKEMAKE=<its path>"
)

# Writes down what it was called with, and fails for a scene named broken until there is a file `repaired`. A training that is
# started for the first time leaves half its result behind and fails; it must see it the second time.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$* GPU=${CUDA_VISIBLE_DEVICES-unset}" >>"$RECORD"
case "$*" in
  *train_autoencoder.py*scenes/broken*) [ -e repaired ] || { echo "error: no features" >&2; exit 2; } ;;
  *train.py*scenes/halfway*)
    while [ "$1" != -m ]; do shift; done
    if [ ! -e "$2/checkpoints/half" ]; then mkdir -p "$2/checkpoints"; touch "$2/checkpoints/half"; kill -KILL $$; fi ;;
  *evaluation.benchmark*|*scan_segmentation*|*selection_table*) echo "the table of $*" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """A function that runs the workflow in `tmp_path`; returns the process with its output."""
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def start(*arguments, python=python, **config):
        settings = {"scenes": "scenes", "output": "out", "python": str(python), "phrases": '["red mug"]', **config}
        command = [
            SNAKEMAKE,
            "-s",
            str(ROOT / "workflow" / "Snakefile"),
            "--profile",
            str(ROOT / "workflow/profiles/local"),
            "--cores",
            "2",
        ]
        command += [*arguments, "--config", *(f"{name}={value}" for name, value in settings.items() if value is not None)]
        environment = os.environ | {"RECORD": str(tmp_path / "record"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return start


def make_scenes(folder, *names):
    for name in names:
        (folder / "scenes" / name / "images").mkdir(parents=True)


def calls(tmp_path, part):
    """Recorded calls whose text has the part; the record starts anew."""
    record = tmp_path / "record"
    found = record.read_text().splitlines() if record.exists() else []
    return [call for call in found if part in call]


def test_a_failing_scene_stops_no_other_and_the_end_says_which_why_and_where_to_look(run, tmp_path):
    make_scenes(tmp_path, "good", "broken")
    done = run()
    assert done.returncode != 0
    markers = tmp_path / "out" / "workflow"
    assert (markers / "good" / "seed_0" / "listed.done").exists()
    assert not (markers / "broken" / "seed_0" / "listed.done").exists()
    said = done.stderr
    assert "2 jobs failed" in said and "broken/seed_0/compress_lifted: error: no features" in said
    assert "look: less +G out/workflow/broken/seed_0/compress_lifted.log" in said
    (tmp_path / "repaired").touch()
    (tmp_path / "record").unlink()
    done = run()
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr
    assert (markers / "broken" / "seed_0" / "listed.done").exists()
    assert not calls(tmp_path, "scenes/good"), "what was done is not done again"
    assert not calls(tmp_path, "preprocess.py")


def test_a_killed_training_finds_what_it_left(run, tmp_path):
    make_scenes(tmp_path, "halfway")
    assert run().returncode != 0
    assert (tmp_path / "out/halfway/seed_0/checkpoints/half").exists(), "Snakemake removes no result of ours"
    assert not (tmp_path / "out/workflow/halfway/seed_0/gaussians.done").exists()
    done = run()
    assert done.returncode == 0, done.stderr


def test_shards_seeds_and_fields_are_jobs_of_their_own(run, tmp_path):
    make_scenes(tmp_path, "a")
    done = run(shards=3, seeds="[0, 7]", render="true", locate="lifted", iterations="null")
    assert done.returncode == 0, done.stderr
    assert sorted(call.split("--shard ")[1].split()[0] for call in calls(tmp_path, "preprocess.py")) == ["1/3", "2/3", "3/3"]
    for seed in (0, 7):
        of_seed = f"-m out/a/seed_{seed} "
        assert len(calls(tmp_path, f"train.py -s scenes/a {of_seed}--seed")) == 1
        assert len([call for call in calls(tmp_path, of_seed) if "--include_feature" in call and "/train.py" in call]) == 2
        assert len([call for call in calls(tmp_path, f"{of_seed}--field") if "eval_query.py" in call]) == 2
        assert len([call for call in calls(tmp_path, f"{of_seed}--field lifted") if "locate.py" in call]) == 1
        assert len([call for call in calls(tmp_path, of_seed) if "render.py" in call]) == 3


def test_jobs_that_a_gpu_helps_have_one_of_the_list_and_the_others_none(run, tmp_path):
    make_scenes(tmp_path, "a", "b")
    done = run("--resources", "gpu=2", gpus="[8,9]")
    assert done.returncode == 0, done.stderr
    devices = {call.rpartition("GPU=")[2] for part in ("/train.py", "preprocess.py") for call in calls(tmp_path, part)}
    assert devices and devices <= {"8", "9"}
    others = [call for part in ("eval_query.py", "train_autoencoder.py", "locate.py") for call in calls(tmp_path, part)]
    assert {call.rpartition("GPU=")[2] for call in others} == {""}


def test_new_phrases_are_asked_without_training_again(run, tmp_path):
    make_scenes(tmp_path, "a")
    assert run().returncode == 0
    (tmp_path / "record").unlink()
    assert run(phrases='["blue book"]').returncode == 0
    assert len(calls(tmp_path, "--text blue book")) == 3
    assert not calls(tmp_path, "/train.py") and not calls(tmp_path, "preprocess.py")


@pytest.mark.parametrize("name", ["lerf_ovs", "lerf_ovs_3d", "3d_ovs", "scannet", "mipnerf360_ov"])
def test_a_benchmark_is_a_target_that_ends_in_its_table(run, tmp_path, name):
    done = run(name, scenes=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the table of") == 2, "one table for each field"


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"preset": "quick"}, "preset"), ({"scenes": "missing"}, "No folder or table missing"), ({"sceens": "x"}, "sceens")],
)
def test_settings_that_mean_nothing_are_refused(run, tmp_path, settings, said):
    make_scenes(tmp_path, "a")
    done = run("-n", **settings)
    assert done.returncode != 0 and said in done.stdout + done.stderr


def test_no_scenes_are_refused_with_what_to_say(run):
    done = run("-n", scenes=None)
    assert done.returncode != 0 and "config scenes=" in done.stdout + done.stderr


def test_the_pages_flags_for_slurm_are_accepted_together(tmp_path):
    make_scenes(tmp_path, "a", "b")
    section = (ROOT / "docs" / "scaling.md").read_text().partition("## A Slurm cluster")[2].partition("\n## ")[0]
    line = next(line for line in section.splitlines() if line.startswith("snakemake "))
    flags = [flag for text in re.findall(r"`(--[a-z][^`]+)`", section) for flag in shlex.split(text)]
    assert "--set-resources" in flags and "--group-components" in flags and "--slurm-status-command" in flags
    words = line.replace("scenes=data/rooms", "scenes=scenes").replace("workflow/profiles", str(ROOT / "workflow/profiles"))
    command = [SNAKEMAKE, "-n", "-s", str(ROOT / "workflow" / "Snakefile"), *flags, *shlex.split(words)[1:]]
    command += ["phrases=[lamp]", "render=true"]  # every stage of the shared submission
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_scene_from_photographs_to_the_index(run, tmp_path):
    scene = tmp_path / "scenes" / "world"
    size = ["--width", "96", "--height", "72", "--views", "9", "--objects", "6", "--points", "400"]
    subprocess.run(
        [sys.executable, "-m", "toy_world", "-s", scene, "--seed", "3", *size], cwd=ROOT, check=True, capture_output=True
    )
    fields = '[{"name": "lifted", "features": "mini", "method": "codebook"}]'
    done = run(python=sys.executable, fields=fields, preset="fast", iterations=30, shards=2)
    assert done.returncode == 0, done.stderr
    model = tmp_path / "out" / "world" / "seed_0"
    for path in ("point_cloud/metrics.json", "language/lifted/stage.json", "eval/lifted/report.html", "objects/objects.json"):
        assert (model / path).is_file(), path
    page = (tmp_path / "out" / "index.html").read_text()
    assert "world/seed_0/eval/lifted/report.html" in page and "thumbnails/world__seed_0.0.jpg" in page


@pytest.mark.skipif(
    not os.environ.get("SLURM_CLUSTER"),
    reason="takes minutes and root: workflow/tests/slurm_cluster.sh start <folder>, then SLURM_CLUSTER=<folder>, KILLS=<number>",
)
def test_a_cluster_whose_driver_jobs_and_node_are_killed_ends_in_the_results_of_an_undisturbed_run(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "workflow" / "tests" / "kill_runs.py"),
        "--driver",
        SNAKEMAKE,
        "--python",
        sys.executable,
    ]
    command += ["--slurm", os.environ["SLURM_CLUSTER"], "--kills", os.environ.get("KILLS", "3"), "-o", str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0
