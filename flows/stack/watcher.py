"""The watcher of the inbox as a child of the stack, see `flows.watch_inbox`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from flows.heartbeat import VARIABLE
from flows.stack.children import Child
from flows.stack.state import Service


def watcher(environment: Mapping[str, str], folder: Path) -> Child:
    """The program, not yet started. Its `environment` is that of workers: the same server, the same store."""
    heartbeat = folder / "watcher.heartbeat"
    return Child(
        "inbox watcher",
        [sys.executable, "-P", "-m", "flows.watch_inbox"],
        {**environment, VARIABLE: str(heartbeat)},
        log=folder / "watcher.log",
        folder=folder,
        service=Service("heartbeat", str(heartbeat)),
    )
