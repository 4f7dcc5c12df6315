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
import sys
import threading

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "PS3D_STACK_CHILD"
GRACE_SECONDS = 12.0
"""How long the command may take to stop by itself."""
KILL_SECONDS = 5.0


def main(token: str, command: list[str]) -> int:
    """Run `command` until it ends or standard input closes; return its exit status, that of a shell after a signal."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # The stack decides when to stop, by closing the pipe. What is ignored, the command would ignore as well.
        signal.signal(number, lambda _number, _frame: None)
    process, ended = _start(command, os.environ | {VARIABLE: token}), threading.Event()
    threading.Thread(target=_stop_when_alone, args=(process, ended), daemon=True).start()
    status = _status_of(process)
    ended.set()
    # In the environment of the command, which finds ps3d, but without the token: it must not find itself.
    _status_of(_start([sys.executable, "-P", "-m", "ps3d_app.flows.service.stack.leftovers", token], os.environ))
    return status


def _start(command: list[str], environment: Mapping[str, str]) -> int:
    """Start a command without input and return its number; subprocess would take a fifth of this program's memory."""
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    try:
        # Python ignores the signal of a broken pipe, and what is ignored is inherited.
        return os.posix_spawnp(command[0], command, environment, file_actions=[nothing], setsigdef=[signal.SIGPIPE])
    except OSError as error:
        sys.exit(f"{command[0]}: cannot be started ({error.strerror})")


def _status_of(process: int) -> int:
    """Wait for the end of a process and return its exit status."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code if code >= 0 else 128 - code


def _stop_when_alone(process: int, ended: threading.Event) -> None:
    os.read(0, 1)  # returns at the end of the pipe only
    for number in (signal.SIGTERM, signal.SIGKILL):
        if ended.is_set():
            return
        try:
            os.kill(process, number)
        except ProcessLookupError:  # it has just ended by itself
            return
        ended.wait(GRACE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
