"""How much memory may still be taken: what the machine has free, or what is left of a container's limit."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

_GROUP: Final = Path("/sys/fs/cgroup")
"""Of the container that this process runs in, if any: a container sees its own control group as the topmost one."""


def free_bytes(group: Path = _GROUP) -> int:
    """Return the number of bytes that this process may still take.

    With more it would swap, or be killed for its container's limit (cgroup v2).
    """
    machine = int(psutil.virtual_memory().available)
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return machine
        used = int((group / "memory.current").read_text())
        kinds = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Of what is used, copies of files that nobody reads at present are given up for whoever needs memory.
        return max(0, min(machine, int(limit) - used + int(kinds["inactive_file"])))
    except (OSError, ValueError, KeyError):
        return machine  # no container, or a system without control groups
