"""Entry point of every script: flags from a dataclass, one function call, user errors without a traceback."""

import contextvars
import errno
import inspect
import logging
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from workspace.errors import InputError

# Operating system errors for unusable paths. Any other errno is a bug and keeps its traceback.
_OF_THE_USER = {errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENAMETOOLONG}
_OF_THE_USER |= {errno.ELOOP, errno.EIO}


# Flags that a continuation must leave out: they start again, or name a part of the work.
_NOT_REPEATED = {"--overwrite": 0, "--no-resume": 0, "--shard": 1}  # number of values
_given: contextvars.ContextVar[str | None] = contextvars.ContextVar("command", default=None)


def continuation() -> str | None:
    """The command that continues what this process runs: as given, without flags that would start it again.

    None when no script was started through `run`.
    """
    return _given.get()


def run(
    function: Callable[[Any], None],
    config_class: type,
    args: Sequence[str] | None = None,
    mode: Sequence[str] = (),
    note: str = "",
) -> None:
    """Parse `config_class` from the command line, call `function` with it, and end the process with a clear exit code.

    Args:
        function: what the script does; its docstring is the description in --help.
        config_class: dataclass of its flags.
        args: the flags, by default those of the process.
        mode: flags given besides, which chose `function`.
        note: another sentence for --help.

    Exit codes: 0 done, 1 an item failed (the function raises SystemExit), 2 wrong input, 130 interrupted.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    flags = sys.argv[1:] if args is None else args
    token = _given.set(_continuation([*mode, *flags]))
    try:
        function(tyro.cli(config_class, args=flags, description=f"{_summary(function)}\n\n{note}".strip()))
    except InputError as error:
        sys.exit(_fail(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_fail(f"interrupted; finished work is kept. Continue it with: {_given.get()}", 130))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = f"the disk is full ({error.filename or 'no space left'}); free some space, then continue with: {_given.get()}"
            sys.exit(_fail(full, 1))
        if error.errno not in _OF_THE_USER or error.filename is None:
            raise
        sys.exit(_fail(f"{error.filename}: {error.strerror}; check the path and your rights, or name another folder", 2))
    finally:
        _given.reset(token)


def run_either(
    flag: str,
    purpose: str,
    chosen: Callable[[], tuple[Callable[[Any], None], type]],
    otherwise: Callable[[], tuple[Callable[[Any], None], type]],
) -> None:
    """`run` the function and config class that `chosen` returns if the command line has `--flag`, else those of `otherwise`.

    Each has separate flags: --help shows those of `otherwise` and the `purpose` of the flag, with `--flag` those of `chosen`.
    Only one is imported.
    """
    spellings = (f"--{flag}", f"--{flag.replace('_', '-')}")
    rest = [argument for argument in sys.argv[1:] if argument not in spellings]
    given = [argument for argument in sys.argv[1:] if argument in spellings]
    function, config_class = (chosen if given else otherwise)()
    run(function, config_class, rest, given, "" if given else f"--{flag}: {purpose}; its flags: --{flag} --help")


def _continuation(flags: Sequence[str]) -> str:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", module.name] if module is not None else [sys.argv[0]]
    kept, skipped = [], 0
    for flag in flags:
        name = flag.partition("=")[0].replace("_", "-")
        if skipped:
            skipped -= 1
        elif name in _NOT_REPEATED:
            skipped = _NOT_REPEATED[name] if "=" not in flag else 0
        else:
            kept.append(flag)
    return shlex.join(["python", *program, *kept])


def _summary(function: Callable[[Any], None]) -> str:
    """The docstring of `function` without its Args, Returns and Raises sections, which do not help at the command line."""
    return re.split(r"\n\n(?:Args|Returns|Raises):\n", inspect.getdoc(function) or "")[0]


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
