"""What every script shows and how it ends."""

import errno
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from workspace import InputError, command_line
from workspace.record_types import EvalRecord
from workspace.stage_record import require, stage


@dataclass(frozen=True)
class Config:
    """Settings."""

    number: int = 1
    """A number."""


def describe(config: Config) -> None:
    """Do a thing (stage 9).

    It takes a moment.

    Raises:
        InputError: nothing there.
    """


def test_help_describes_and_does_not_list_exceptions(capsys):
    with pytest.raises(SystemExit):
        command_line.run(describe, Config, ["--help"])
    text = capsys.readouterr().out
    assert "Do a thing (stage 9)." in text and "It takes a moment." in text
    assert "Raises" not in text and "InputError" not in text


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.EISDIR, errno.EIO])
def test_what_the_system_refuses_is_one_line(number, capsys):
    def fail(config):
        raise OSError(number, "No way", "some/file")

    with pytest.raises(SystemExit) as stopped:
        command_line.run(fail, Config, [])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: some/file: No way")


@dataclass(frozen=True)
class Checked:
    """A config that refuses a value when it is made."""

    temperature: float = 10.0
    """Above 0."""

    def __post_init__(self):
        if not self.temperature > 0:
            raise InputError(f"--temperature {self.temperature}: expected a number above 0.")


def test_a_value_that_the_config_refuses_is_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.run(lambda config: None, Checked, ["--temperature", "0"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: --temperature 0.0: expected a number above 0.\n"


_SCRIPTS = ["convert", "preprocess", "train_autoencoder", "train", "render", "eval_query", "import_langsplat"]
_WATCH = """
import os, sys
os.environ.pop("OMP_WAIT_POLICY", None)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.exit(0 if os.environ.get("OMP_WAIT_POLICY") == "passive" else 9)
sys.meta_path.insert(0, Finder())
sys.path.insert(0, ".")
import {script}
getattr({script}, "main", lambda args: None)(["--help"])
"""


@pytest.mark.parametrize("script", _SCRIPTS)
def test_every_script_tells_idle_threads_to_sleep_before_the_libraries_start_them(script):
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", _WATCH.format(script=script)], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-s", "a scene", "--start_checkpoint", "chk.pth"], "-s 'a scene' --start_checkpoint chk.pth"),
        (["--overwrite", "--number", "3", "--no_resume"], "--number 3"),  # these would begin again
        (["--shard", "1/4", "--number=3", "--shard=2/4"], "--number=3"),  # all shards are missing something
    ],
)
def test_a_stage_that_did_not_finish_is_continued_with_the_flags_that_were_given(flags, expected, tmp_path, monkeypatch, capsys):
    """Another command for the same folder is refused for its other settings."""

    def interrupted(config):
        with stage(tmp_path / "stage", EvalRecord, {}, {}):
            (tmp_path / "stage/part").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["train.py", *flags])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(command_line.tyro, "cli", lambda *_, **__: Config())
    with pytest.raises(SystemExit):
        command_line.run(interrupted, Config)
    assert f"Continue it with: python train.py {expected}\n" in capsys.readouterr().err
    with pytest.raises(InputError) as refused:
        require(tmp_path / "stage", EvalRecord, "python train.py")
    assert str(refused.value).endswith(f"did not finish. Continue it with: python train.py {expected}")
    assert command_line.continuation() is None  # a stage that the same process starts afterwards was given no command


@pytest.mark.parametrize("script", ["train", "render"])
def test_help_names_the_flag_that_chooses_the_other_task(script):
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, f"{script}.py", "--help"], cwd=root, capture_output=True, text=True, check=False)
    assert "--include_feature: " in done.stdout and "--include_feature --help" in " ".join(done.stdout.split())
