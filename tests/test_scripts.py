"""Every command line of the scripts and the documentation is one that our programs accept."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from features.registry import DEFAULT, EXTRACTORS
from query.question import clean_phrases
from workspace import command_line

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if path.name != "CHANGELOG.md")
RECORDER = """#!/usr/bin/env bash
printf '%s\\0' "$@" >>"$RECORD"
printf '\\n' >>"$RECORD"
"""
VARIABLES = {
    "FEATURES": "dino",
    "TALK2DINO": "weights/talk 2 dino.pth",
    "SEEDS": "0 1",
    "PHRASES": "labels",
    "RULE": "langsplat_v2",
    "READING": "gaussian",
    "LEVEL": "grid",
    "LABELS": "goi",
    "PRESET": "fast",
    "ITERATIONS": "100",
    "METHOD": "codebook",
}
CHECK = "evaluation.before_training"  # the first command of every benchmark
ARGUMENTS = ("data/a scene", "output/a model", "red mug", "snowman's hat")


def run_script(script, folder, variables, arguments):
    """Run a script with a `python` that only writes its arguments down; returns them, one list per call."""
    folder.mkdir(exist_ok=True)
    python = folder / "python"
    python.write_text(RECORDER)
    python.chmod(0o755)
    record = folder / "record"
    record.write_bytes(b"")
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "RECORD": str(record),
        "PYTHON": str(python),
        **variables,
    }
    done = subprocess.run(["bash", script, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [call.split("\0") for call in record.read_text().split("\0\n")[:-1]]


def usage(script):
    """The arguments that a script's header says it needs, placeholders filled, without the optional ones."""
    needed = re.search(rf"^#.*scripts/{re.escape(script.name)} ([^\[\n]*)", script.read_text(), re.MULTILINE)
    assert needed, f"{script.name} does not say how it is used"
    return re.sub(r"<[^<>]*>", "'a folder'", needed.group(1))


def documented(page):
    """Commands `python <script>.py ...` and `python -m <module> ...` of a page's code blocks, placeholders filled."""
    commands = []
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for block in (text for language, text in blocks if language in ("", "bash", "sh", "shell", "console")):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(
                r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?python3? "
                r"((?:\S+\.py|-m (?:scene|evaluation|training|features|toy_world)\.\S+).*)",
                line,
            )
            if found:
                commands.append(re.sub(r"<[^<>]*>", "placeholder", found.group(1)))
    return commands


def parse(arguments, monkeypatch):
    """Let the program read its arguments with its own configuration class; returns that, and starts nothing."""
    parsed = []

    def read(function, config_class, args=None, *_):
        parsed.append(tyro.cli(config_class, args=sys.argv[1:] if args is None else args))

    monkeypatch.setattr(command_line, "run", read)
    if arguments[0] == "-m":
        monkeypatch.setattr(sys, "argv", arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    assert len(parsed) == 1, f"{arguments[0]} does not start through command_line.run"
    return parsed[0]


def accepted(arguments, monkeypatch, capsys):
    try:
        return parse(arguments, monkeypatch)
    except SystemExit:
        pytest.fail(f"not accepted: python {shlex.join(arguments)}\n{capsys.readouterr().err}")


def cases():
    for script in SCRIPTS:
        yield pytest.param(script, {}, id=script.name)
        if any(name in script.read_text() for name in VARIABLES):
            yield pytest.param(script, VARIABLES, id=f"{script.name} with variables")


@pytest.mark.parametrize(("script", "variables"), list(cases()))
def test_every_command_of_a_script_is_accepted(script, variables, tmp_path, monkeypatch, capsys):
    arguments = shlex.split(usage(script))
    calls = run_script(script, tmp_path / "bin", variables, arguments)
    assert calls
    # A benchmark repeats its commands for every scene and seed; one of each kind says whether they parse.
    kinds = {(call[0], *(word for word in call if word.startswith("-"))): call for call in calls}
    for call in kinds.values():
        accepted(call, monkeypatch, capsys)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_documented_command_is_accepted(page, monkeypatch, capsys):
    for command in documented(page):
        accepted(shlex.split(command, comments=True), monkeypatch, capsys)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_without_arguments_says_how_it_is_used_and_nothing_else(script):
    done = subprocess.run(["bash", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(rf"usage: scripts/{re.escape(script.name)} <.*>.*\n", done.stderr)


def test_a_script_hands_its_phrases_on(tmp_path, monkeypatch, capsys):
    (call,) = run_script(ROOT / "scripts/5_eval_query.sh", tmp_path / "bin", {}, ARGUMENTS)
    config = accepted(call, monkeypatch, capsys)
    assert (
        config.text == ARGUMENTS[2:] and config.source_path == Path(ARGUMENTS[0]) and config.model_path == (Path(ARGUMENTS[1]),)
    )


@pytest.mark.parametrize("script", ["5_eval_query.sh", "run_scene.sh"])
def test_a_phrase_that_begins_with_a_dash_is_a_phrase(script, tmp_path, monkeypatch, capsys):
    *_, call = run_script(ROOT / "scripts" / script, tmp_path / "bin", {}, ("scene", "model", "-10% label", "red mug", "--split"))
    text = accepted(call, monkeypatch, capsys).text
    assert clean_phrases(text) == ("-10% label", "red mug", "--split")


def test_one_word_makes_the_whole_scene_fast(tmp_path, monkeypatch, capsys):
    calls = run_script(ROOT / "scripts/run_scene.sh", tmp_path / "bin", {"PRESET": "fast"}, ARGUMENTS)
    configs = [accepted(call, monkeypatch, capsys) for call in calls if call[0] in ("preprocess.py", "train.py")]
    assert [config.preset for config in configs] == ["fast"] * 3


@pytest.mark.parametrize("script", ["lerf_ovs.sh", "lerf_ovs_3d.sh", "3d_ovs.sh", "scannet.sh", "mipnerf360_ov.sh"])
def test_a_method_is_tabled_by_its_own_field(script, tmp_path):
    """One output folder can hold the fields of several methods; without --field the published one would be taken."""
    arguments = ("data", "labels", "output")[: 3 if script == "mipnerf360_ov.sh" else 2]
    calls = run_script(ROOT / "scripts" / script, tmp_path, {"METHOD": "codebook", "SCENES": "a"}, arguments)
    first, *calls = calls
    assert first[:2] == ["-m", CHECK]
    asking = [call for call in calls if call[0] not in ("preprocess.py", "train.py") or "--include_feature" in call]
    assert len(asking) >= 3  # compressor, field, at least one table
    for call in asking:
        assert call[call.index("--field") + 1] == "lifted", call


def test_the_benchmark_evaluates_every_scene_by_its_labels(tmp_path, monkeypatch, capsys):
    calls = run_script(ROOT / "scripts/lerf_ovs.sh", tmp_path / "bin", {"SEEDS": "0 1"}, ("data/lerf_ovs", "output/lerf"))
    evaluations = [accepted(call, monkeypatch, capsys) for call in calls if call[0] == "eval_query.py"]
    assert [config.labels.name for config in evaluations] == ["figurines", "ramen", "teatime", "waldo_kitchen"]
    assert all(config.source_path.name == config.labels.name and len(config.model_path) == 2 for config in evaluations)
    table = accepted(calls[-1], monkeypatch, capsys)
    assert len(table.model_path) == 8


@pytest.mark.parametrize("features", [*EXTRACTORS, None])
def test_gags_labels_are_read_at_a_level_that_the_features_have(features, tmp_path, monkeypatch, capsys):
    variables = {"FEATURES": features} if features else {}
    calls = run_script(ROOT / "scripts/mipnerf360_ov.sh", tmp_path / "bin", variables, ("data", "labels", "output"))
    for call in (calls[0], next(call for call in calls if call[0] == "eval_query.py")):
        level = accepted(call, monkeypatch, capsys).level
        assert level in EXTRACTORS[features or DEFAULT].store.trained_levels


@pytest.mark.parametrize("script", ["lerf_ovs.sh", "3d_ovs.sh"])
def test_a_rule_that_reads_one_level_is_given_it(script, tmp_path, monkeypatch, capsys):
    calls = run_script(ROOT / "scripts" / script, tmp_path / "bin", {"RULE": "gags", "LEVEL": "m"}, ("data", "output"))
    for call in (calls[0], next(call for call in calls if call[0] == "eval_query.py")):
        config = accepted(call, monkeypatch, capsys)
        assert (config.rule, config.level) == ("gags", "m")


def test_a_wrong_flag_is_noticed(monkeypatch, capsys):
    with pytest.raises(pytest.fail.Exception, match="not accepted"):
        accepted(["eval_query.py", "--no_such_flag"], monkeypatch, capsys)
