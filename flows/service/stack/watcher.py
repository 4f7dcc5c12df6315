"""The watcher of the inbox as a child of the stack, see `ps3d_app.flows.service.watch_inbox`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ps3d_app.flows.machine.heartbeat import VARIABLE
from ps3d_app.flows.service.stack.children import Child
from ps3d_app.flows.service.stack.state import Service


def watcher(environment: Mapping[str, str], folder: Path) -> Child:
    """Return the program of the inbox watcher, not yet started.

    Its `environment` is that of workers: the same server, the same store.
    """
    heartbeat = folder / "watcher.heartbeat"
    return Child(
        "inbox watcher",
        [sys.executable, "-P", "-m", "ps3d_app.flows.service.watch_inbox"],
        {**environment, VARIABLE: str(heartbeat)},
        log=folder / "watcher.log",
        folder=folder,
        service=Service("heartbeat", str(heartbeat)),
    )
