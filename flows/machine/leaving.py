"""A process that is told to end ends soon, whatever it is doing.

Who cancels a run waits for its process. A network in the middle of a block, or Python putting away what it has loaded,
can take longer than anybody waits; and what a killed process leaves is made up for anyway.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, current_thread, main_thread
from typing import Final

SECONDS: Final = 10
"""Between being told and being gone; enough to say so to the server and the store."""


@contextmanager
def leaving_soon() -> Iterator[None]:
    """Let a SIGTERM that comes within the body end this process `SECONDS` later, wherever it is by then.

    Handlers stay what they are: Prefect asks a run to cancel only while its own one is there. The system tells us of
    the signal besides, and ends the process by an alarm, for which no Python has to run. Does nothing outside the main
    thread, which signals go to.
    """
    if current_thread() is not main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    Thread(target=_wait_for_it, args=(reading,), name="leaving", daemon=True).start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)


def _wait_for_it(reading: int) -> None:
    with os.fdopen(reading, "rb", buffering=0) as signals:
        while number := signals.read(1):
            if number[0] == signal.SIGTERM:
                signal.alarm(SECONDS)
                return
