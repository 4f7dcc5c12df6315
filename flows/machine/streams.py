"""The standard streams of a command: a full disk, a closed pipe or a stream that was never opened end it quietly."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

from ps3d_core.printable import printable

_STANDARD: Final = (0, 1, 2)
_NOT_TAKEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EPIPE, errno.EBADF, errno.EIO)


def open_all() -> None:
    """Open the null device in the place of standard streams that are closed.

    Otherwise the next file that is opened gets their number, and what is printed goes into it.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    # Not every release of the standard library asks whether there is a stream before it writes.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (as long as the process)


def complain(message: str) -> None:
    """Say what went wrong, in one line on stderr, if anybody listens."""
    say(f"ps3d: error: {printable(' '.join(message.split()))}")


def say(line: str) -> None:
    """Print a line on stderr, if anybody listens."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _silence(sys.stderr)


def flushed() -> str | None:
    """Write what was printed on stdout but not written yet; return what is wrong when stdout does not take it.

    Return None when it does, and an empty text when nobody wants to hear of it.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        return _given_up(error)
    return None


def of_output(error: OSError) -> str | None:
    """Return what is wrong with stdout, when that is what `error` is about, else what `flushed` returns.

    The text is empty when nobody wants to hear of it; None says that nothing is wrong.
    """
    if error.filename is None and error.errno in _NOT_TAKEN:
        return _given_up(error)
    return flushed()


def _given_up(error: OSError | ValueError) -> str:
    _silence(sys.stdout)
    # Who closed the pipe has read enough.
    reason = getattr(error, "strerror", None) or str(error)
    return "" if isinstance(error, BrokenPipeError) else f"the output cannot be written ({reason.lower()})"


def _silence(stream: object) -> None:
    """Let what the stream still holds go nowhere: Python tries once more when it exits, and would complain again."""
    fileno = getattr(stream, "fileno", None)
    if fileno is not None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fileno())
        os.close(null)
