"""The process above every child of the stack: it runs one command, and leaves nothing of it behind.

Run by its path as `python -I -S guard.py TOKEN COMMAND...`, since there are several and each is to be small: it imports
Python's own modules only. The stack holds the other end of its standard input and never writes to it. When that end
closes, because the stack stops or was killed, the command is asked to stop and then made to. All that the command
started is found by a token in its environment, which whatever it starts inherits: Prefect's worker puts every flow run
into a session of its own, so neither process groups nor parents would tell.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

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
    # In the environment of the command, which finds ps3d, but without the token: it must not find itself.
    subprocess.run([sys.executable, "-P", "-m", "flows.stack.leftovers", token], stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    return status if status >= 0 else 128 - status


def _stop_when_alone(process: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)  # returns at the end of the pipe only
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
