"""Ctrl-C and requests to end that wait until what has been begun can be put away.

A signal is answered between any two steps of Python, so also between the start of a process and the `try` that would
end it. What is begun under `interrupts_held` has an owner before the first interrupt comes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

_NUMBERS: Final = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGTERM", "SIGINT") if hasattr(signal, name))


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Answer SIGINT, SIGTERM and SIGHUP at the end of the body, not within it.

    The body has to be short. Handlers that are not Python's keep what they do, and other threads than the main one,
    which no signal is answered in, are left alone.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: handler for number in _NUMBERS if callable(handler := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():  # Ctrl-C last: what it interrupts is no longer this loop
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
