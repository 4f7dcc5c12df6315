"""The log of a command: what libraries and Prefect have to say goes to a file, not to the terminal.

But for a store that does not answer: somebody is waiting for it.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Final

from ps3d_app.flows.machine.home import home_folder
from ps3d_app.flows.machine.streams import say
from ps3d_core.printable import printable, without_keys

KEPT: Final = 50
ROTATE_BYTES: Final = 10_000_000
ROTATED_KEPT: Final = 3
CHATTY: Final = ("httpx", "httpcore")  # a record for every request
OF_STORES: Final = "ps3d.store"
WARN_EVERY_SECONDS: Final = 60.0
logger = logging.getLogger("ps3d")

_handlers: list[logging.Handler] = []


@contextmanager
def log_file(command: str) -> Iterator[Path]:
    """Send log records from INFO up and all warnings to a file of the command while the body runs; yield its path.

    The file is made with the first record; the oldest ones go.
    """
    folder = home_folder("logs")
    for old in sorted(folder.glob("*.log"))[:-KEPT]:
        with suppress(OSError):
            old.unlink()
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{os.getpid()}.log"
    # File names may hold what is no text in any encoding.
    handler = logging.FileHandler(path, delay=True, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_WithoutKeys("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.getLogger().level
    handlers = [handler, _Warnings()]
    _handlers.extend(handlers)
    attach()
    logging.captureWarnings(True)
    # A log that cannot be written, say on a full disk, is not worth a traceback on the terminal.
    complains, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        logger.info("%s", " ".join(sys.argv))
        yield path
    finally:
        logging.raiseExceptions = complains
        logging.captureWarnings(False)
        logging.getLogger().setLevel(level)
        for each in handlers:
            _handlers.remove(each)
            logging.getLogger().removeHandler(each)
        with suppress(OSError):
            handler.close()


def open_log() -> Path | None:
    """Return the log file of the command that runs in this process, None when none does."""
    files = [handler.baseFilename for handler in _handlers if isinstance(handler, logging.FileHandler)]
    return Path(files[-1]) if files else None


def rotate(path: Path) -> None:
    """Put what a program has written into its log aside when it is much: NAME.1 is the latest part, NAME.3 the oldest.

    The program goes on writing to the same file, which it has to have opened for appending. What cannot be done now, on
    a full disk, is done the next time.
    """
    with suppress(OSError):
        if path.stat().st_size < ROTATE_BYTES:
            return
        parts = [path.with_name(f"{path.name}.{number}") for number in range(1, ROTATED_KEPT + 1)]
        for newer, older in reversed(list(pairwise(parts))):
            if newer.exists():
                newer.replace(older)
        shutil.copy(path, parts[0])  # with its mode: others may not read it either
        os.truncate(path, 0)


class _Warnings(logging.Handler):
    """Handler that says on the terminal too what stores warn of, in one line for all that is waiting."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(logging.Filter(OF_STORES))
        self._last = -inf

    def emit(self, record: logging.LogRecord) -> None:
        """Say the warning on the terminal, if nothing was said lately."""
        if record.created - self._last >= WARN_EVERY_SECONDS:
            self._last = record.created
            say(printable(without_keys(record.getMessage())))


class _WithoutKeys(logging.Formatter):
    """Arguments, messages and tracebacks may hold URLs with passwords or signatures; logs are sent around."""

    def format(self, record: logging.LogRecord) -> str:
        return without_keys(super().format(record))


def attach() -> None:
    """Connect the open log to the root logger: at the start, and again after Prefect's import has reset all loggers."""
    root = logging.getLogger()
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for handler in _handlers:
        root.setLevel(logging.INFO)
        root.addHandler(handler)
