"""The process above every child of the stack: it runs one command, and leaves nothing of it behind.

Run as `python -m flows.stack.guard TOKEN COMMAND...`. The stack holds the other end of its standard input and never
writes to it. When that end closes, because the stack stops or was killed, the command is asked to stop and then made
to. All that the command started is found by a token in its environment, which whatever it starts inherits: Prefect's
worker puts every flow run into a session of its own, so neither process groups nor parents would tell.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil

VARIABLE = "PS3D_STACK_CHILD"
GRACE_SECONDS = 12.0
"""How long the command may take to stop by itself."""
KILL_SECONDS = 5.0


def main(token: str, command: list[str]) -> int:
    """Run `command` until it ends or standard input closes; return its exit status, that of a shell after a signal."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # The stack decides when to stop, by closing the pipe. What is ignored, the command would ignore as well.
        signal.signal(number, lambda _number, _frame: None)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | {VARIABLE: token})  # noqa: S603
    threading.Thread(target=_stop_when_alone, args=(process,), daemon=True).start()
    status = process.wait()
    end_processes_of(token)
    return status if status >= 0 else 128 - status


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


def _stop_when_alone(process: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)  # returns at the end of the pipe only
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


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
    sys.exit(main(sys.argv[1], sys.argv[2:]))
