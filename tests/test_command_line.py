"""What every script shows and how it ends."""

import errno
from dataclasses import dataclass

import pytest

from workspace import command_line


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
