"""The log of a command: what libraries and Prefect have to say goes to a file, not to the terminal."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from flows.home import home_folder
from ps3d_core.printable import without_keys

KEPT: Final = 50
CHATTY: Final = ("httpx", "httpcore")  # a record for every request
logger = logging.getLogger("ps3d")

_handlers: list[logging.Handler] = []


@contextmanager
def log_file(command: str) -> Iterator[Path]:
    """Send log records from INFO up and all warnings to a file of its own; yield its path.

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
    _handlers.append(handler)
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
        _handlers.remove(handler)
        logging.getLogger().setLevel(level)
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):
            handler.close()


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
