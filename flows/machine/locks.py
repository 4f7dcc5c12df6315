"""Advisory file locks that the kernel releases when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOOKS: Final = 4
_LOOK_SECONDS: Final = 0.002
"""A look takes the lock itself for a moment, so one alone cannot tell a holder from another look."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock alone while the body runs; wait for all others first."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock together with others while the body runs; wait for an exclusive holder first."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def exclusive_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock alone while the body runs and yield True, or yield False at once when somebody holds it."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_locked(path: Path) -> bool:
    """Return whether anybody holds the lock."""
    for attempt in range(_LOOKS):
        if attempt:
            time.sleep(_LOOK_SECONDS)
        with exclusive_if_free(path) as free:
            if free:
                return False
    return True
