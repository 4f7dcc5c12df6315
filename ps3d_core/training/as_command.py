"""Modules that are run with `python -m`: what cannot be used is told in one line, with status 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ps3d_core.errors import InputError

USAGE = 2


def at_least_one(text: str) -> int:
    """Return the whole number that an option was given; a type of arguments for argparse, which words the error."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, at least 1")
    return int(text)


def as_command(main: Callable[[], None]) -> int:
    """Run `main` and return the exit status: 0, or 2 after an `InputError`, whose line goes to standard error."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    return 0
