"""The watcher of the inbox as a child of the stack, see `flows.watch_inbox`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from flows.stack.children import Child


def watcher(environment: Mapping[str, str], folder: Path) -> Child:
    """The program, not yet started. Its `environment` is that of workers: the same server, the same store."""
    command = [sys.executable, "-P", "-m", "flows.watch_inbox"]
    return Child("inbox watcher", command, environment, log=folder / "watcher.log", folder=folder)
