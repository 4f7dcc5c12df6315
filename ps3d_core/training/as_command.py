"""Modules that are run with `python -m`: what cannot be used is told in one line, with status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ps3d_core.errors import InputError

USAGE = 2


def as_command(main: Callable[[], None]) -> int:
    """Run `main` and return the exit status: 0, or 2 after an `InputError`, whose line goes to standard error."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    return 0
