"""The one way a script starts: flags from a dataclass, one function called, user errors without a traceback."""

import errno
import logging
import sys
from collections.abc import Callable
from typing import Any

import tyro

from workspace import InputError


def run(function: Callable[[Any], None], config_class: type, args: list[str] | None = None) -> None:
    """Parse `config_class` from the command line, call `function` with it, and end the process with a clear exit code.

    Exit codes: 0 done, 1 an item failed (the function raises SystemExit), 2 wrong input, 130 interrupted.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = tyro.cli(config_class, args=args, description=function.__doc__)
    try:
        function(config)
    except InputError as error:
        sys.exit(_fail(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; finished work is kept, the same command continues", 130))
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EACCES, errno.EROFS, errno.EEXIST):
            sys.exit(_fail(f"cannot write {error.filename}: {error.strerror}; name another folder", 2))
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(_fail(f"the disk is full ({error.filename or 'no space left'}); free some space, the same command continues", 1))


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
