"""Entry point of every script: flags from a dataclass, one function call, user errors without a traceback."""

import errno
import inspect
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

import tyro

from workspace.errors import InputError

# Operating system errors for unusable paths. Any other errno is a bug and keeps its traceback.
_OF_THE_USER = {errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENAMETOOLONG}
_OF_THE_USER |= {errno.ELOOP, errno.EIO}


def run(function: Callable[[Any], None], config_class: type, args: list[str] | None = None) -> None:
    """Parse `config_class` from the command line, call `function` with it, and end the process with a clear exit code.

    Exit codes: 0 done, 1 an item failed (the function raises SystemExit), 2 wrong input, 130 interrupted.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        function(tyro.cli(config_class, args=args, description=_summary(function)))
    except InputError as error:
        sys.exit(_fail(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; finished work is kept, the same command continues", 130))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = f"the disk is full ({error.filename or 'no space left'}); free some space, the same command continues"
            sys.exit(_fail(full, 1))
        if error.errno not in _OF_THE_USER or error.filename is None:
            raise
        sys.exit(_fail(f"{error.filename}: {error.strerror}; check the path and your rights, or name another folder", 2))


def run_either(
    flag: str,
    chosen: Callable[[], tuple[Callable[[Any], None], type]],
    otherwise: Callable[[], tuple[Callable[[Any], None], type]],
) -> None:
    """`run` the function and config class that `chosen` returns if the command line has `--flag`, else those of `otherwise`.

    Each has separate flags: --help shows those of `otherwise`, with `--flag` those of `chosen`. Only one is imported.
    """
    spellings = (f"--{flag}", f"--{flag.replace('_', '-')}")
    rest = [argument for argument in sys.argv[1:] if argument not in spellings]
    function, config_class = (chosen if len(rest) < len(sys.argv[1:]) else otherwise)()
    run(function, config_class, rest)


def _summary(function: Callable[[Any], None]) -> str:
    """The docstring of `function` without its Args, Returns and Raises sections, which do not help at the command line."""
    return re.split(r"\n\n(?:Args|Returns|Raises):\n", inspect.getdoc(function) or "")[0]


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
