"""What a program of the stack may leave: every process that carries its token.

Run as `python -P -m ps3d_app.flows.service.stack.leftovers TOKEN` by a guard, which is too small to know psutil.
"""

from __future__ import annotations

import sys
import time

import psutil

from ps3d_app.flows.service.stack.guard import KILL_SECONDS, VARIABLE


def end_processes_of(token: str) -> None:
    """Kill every process that carries `token`, until there is none."""
    give_up = time.monotonic() + KILL_SECONDS
    while (left := _processes_of(token)) and time.monotonic() < give_up:
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1)


def _processes_of(token: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(VARIABLE) == token:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # ended meanwhile, or somebody else's
    return found


if __name__ == "__main__":
    end_processes_of(sys.argv[1])
