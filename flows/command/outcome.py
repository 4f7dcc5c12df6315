"""How a command ends: the exit status, and the one line that says what went wrong."""

from __future__ import annotations

import argparse
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from ps3d_app.flows.machine.log_file import log_file, logger
from ps3d_app.flows.machine.streams import complain, of_output, say
from ps3d_core.errors import OF_THE_INPUT, InputError, Ps3dError, worded
from ps3d_core.extras import of_missing, require
from ps3d_core.printable import printable
from ps3d_core.store.faults import unusable_place

if TYPE_CHECKING:
    from ps3d_app.flows.command.commands import Command

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


def run_to_exit_status(name: str, command: Command, args: argparse.Namespace) -> int:
    """Run the command of this name and return the exit status; report on stderr how it failed, if it did."""
    try:
        with log_file(name) as log, _termination_as_interrupt():
            return _run(command, args, log)
    except InputError as error:  # the log itself cannot be written
        return _complain(str(error), USAGE)


def _run(command: Command, args: argparse.Namespace, log: Path) -> int:
    try:
        require(*getattr(command, "NEEDS", ()), *(["prefect"] if getattr(args, "direct", True) is False else []))
        command.run(args)
        return DONE
    except KeyboardInterrupt:
        return _complain("interrupted; the same command continues where it stopped", INTERRUPTED, debug=args.debug)
    except Exception as error:
        if isinstance(error, OSError) and (problem := of_output(error)) is not None:
            return _complain(problem, FAILED) if problem else FAILED
        told = _in_our_words(error)
        if isinstance(told, OF_THE_INPUT):
            logger.info("bad input", exc_info=error)
            return _complain(worded(told, args.options.get), USAGE, debug=args.debug)
        logger.exception("failed")
        if isinstance(told, Ps3dError):
            return _complain(worded(told, args.options.get), FAILED, debug=args.debug)
        kind = type(error).__name__
        return _complain(f"{kind}: {error or 'no message'}; traceback in {log}", FAILED, debug=args.debug)


def _in_our_words(error: Exception) -> Exception:
    """One of our errors for what the system says that has a plain meaning; else the same."""
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return Ps3dError(f"not enough memory{detail}", "close other programs", "give less <memory>", "fewer <workers>")
    return of_missing(error) or unusable_place(error) or error


def _complain(message: str, status: int, *, debug: bool = False) -> int:
    if debug:
        say("\n".join(map(printable, traceback.format_exc().splitlines())))
    complain(message)
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
