"""How a command ends: the exit status, and the one line that says what went wrong."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from flows.log_file import log_file, logger
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.printable import printable
from ps3d_core.store.faults import unusable_place

if TYPE_CHECKING:
    from flows.commands import Command

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


def run_to_exit_status(name: str, command: Command, args: argparse.Namespace) -> int:
    """Run the command of this name; report on stderr how it failed, if it did."""
    try:
        with log_file(name) as log, _termination_as_interrupt():
            return _run(command, args, log)
    except InputError as error:  # the log itself cannot be written
        return _complain(str(error), USAGE)


def _run(command: Command, args: argparse.Namespace, log: Path) -> int:
    try:
        command.run(args)
        sys.stdout.flush()
        return DONE
    except InputError as error:
        logger.info("bad input", exc_info=error)
        return _complain(error.worded(args.options.get), USAGE, debug=args.debug)
    except KeyboardInterrupt:
        return _complain("interrupted; the same command continues where it stopped", INTERRUPTED, debug=args.debug)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if (refused := unusable_place(error)) is not None:
            logger.info("unusable place", exc_info=error)
            return _complain(str(refused), USAGE, debug=args.debug)
        logger.exception("failed")
        kind = "" if isinstance(error, Ps3dError) else f"{type(error).__name__}: "
        return _complain(f"{kind}{error or 'no message'}; traceback in {log}", FAILED, debug=args.debug)


def _complain(message: str, status: int, *, debug: bool = False) -> int:
    if debug:
        print("\n".join(map(printable, traceback.format_exc().splitlines())), file=sys.stderr)
    print(f"ps3d: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end the command as Ctrl-C does, so that everything is put away.

    What was ignored stays ignored: nohup means it.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
