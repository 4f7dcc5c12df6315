"""The `ps3d` command: its door, through which every run of a command comes in and goes out.

Exit status: 0 done; 2 usage or input that cannot be used; 1 anything else; 130 interrupted. Errors are one line on
stderr. The traceback of what was not foreseen is in a log file, or on the terminal with --debug.

This module imports next to nothing, so that Ctrl-C while Python is still importing ends in one line, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ps3d_app.flows.machine.streams import complain, flushed, of_output, open_all

if TYPE_CHECKING:
    import argparse

    from ps3d_app.flows.command.commands import Command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""

    def parser() -> argparse.ArgumentParser:
        from ps3d_app.flows.command.command_line import ps3d_parser

        return ps3d_parser()

    return _exit_status(parser, arguments)


def run_alone(name: str, command: Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command that has a name of its own besides `ps3d`; return the exit status."""

    def parser() -> argparse.ArgumentParser:
        from ps3d_app.flows.command.command_line import parser_of

        return parser_of(name, command)

    return _exit_status(parser, arguments)


def _exit_status(parser: Callable[[], argparse.ArgumentParser], arguments: Sequence[str] | None) -> int:
    open_all()
    try:
        args = parser().parse_args(arguments)
        from ps3d_app.flows.command.outcome import run_to_exit_status

        status = run_to_exit_status(args.name_of_command, args.command, args)
    except SystemExit as end:  # of argparse, after help or a usage error
        status = int(end.code or 0)
    except OSError as error:  # of help that cannot be printed
        return _without_output(of_output(error) or "", 1)
    except KeyboardInterrupt:
        complain("interrupted")
        status = 130
    problem = flushed()
    return status if problem is None else _without_output(problem, status)


def _without_output(problem: str, status: int) -> int:
    if problem:
        complain(problem)
    return status or 1


if __name__ == "__main__":
    sys.exit(main())
