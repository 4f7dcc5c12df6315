"""The `ps3d` command: what it understands, and how it ends.

Each command is a module of `flows.commands` with `PURPOSE`, `EXAMPLES`, `configure(parser)` and `run(args)`. Only
these and argparse are imported to show help; everything heavy waits until a command runs.

Exit status: 0 done; 2 usage or input that cannot be used; 1 anything else; 130 interrupted. Errors are one line on
stderr. The traceback is in a log file, or on the terminal with --debug.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from flows.commands import COMMANDS, Command
from flows.outcome import USAGE, run_to_exit_status
from ps3d_core import __version__
from ps3d_core.printable import printable

DESCRIPTION = "Every particle in a micro-CT scan: segmented, measured, plotted."
FIRST_STEPS = """\
First steps:
  ps3d demo                                           see it work on a synthetic scan
  ps3d ingest slices/ data --name ore --spacing 0.01 --particle-size 0.3
  ps3d segment data results --name ore                labels, table and report in results/ore/

Lengths are in mm, axes are z y x. A store is a folder, s3://bucket/prefix or memory://name.
`ps3d COMMAND --help` explains a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    args = _parser().parse_args(arguments)
    return run_to_exit_status(args.name_of_command, args.command, args)


def run_alone(name: str, command: Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command that has a name of its own besides `ps3d`; return the exit status."""
    parser = _described(_Parser, name, command.PURPOSE, command.EXAMPLES)
    _configure(parser, name, command)
    args = parser.parse_args(arguments)
    return run_to_exit_status(args.name_of_command, command, args)


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        hint = f"see {self.prog} --help"
        print(printable(f"ps3d: error: {message}; {hint}".replace("\n", " ")), file=sys.stderr)
        sys.exit(USAGE)


def _parser() -> _Parser:
    parser = _Parser(
        prog="ps3d", description=DESCRIPTION, epilog=FIRST_STEPS, formatter_class=_HelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"ps3d {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction[_Parser]] = {}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group and group not in groups:
            members = [last for each in COMMANDS for first, _, last in [each.rpartition(" ")] if first == group]
            parent = _add(commands, group, f"{group}s: {', '.join(members)}", "")
            groups[group] = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)
        own = _add(groups[group] if group else commands, last, command.PURPOSE, command.EXAMPLES)
        _configure(own, name, command)
    return parser


def _configure(parser: _Parser, name: str, command: Command) -> None:
    command.configure(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(command=command, name_of_command=name.replace(" ", "-"), options=_options(parser))


def _options(parser: _Parser) -> dict[str, str]:
    """What the command calls its options, by name, for the remedies of errors."""
    names = {}
    for action in parser._actions:
        strings = action.option_strings
        long = next((string for string in strings if string.startswith("--")), strings[0] if strings else None)
        names[action.dest] = long or str(action.metavar or action.dest)
    return names


def _add(commands: argparse._SubParsersAction[_Parser], name: str, purpose: str, examples: str) -> _Parser:
    return _described(partial(commands.add_parser, help=purpose), name, purpose, examples)


def _described(make: Callable[..., _Parser], name: str, purpose: str, examples: str) -> _Parser:
    described: _Parser = make(
        name,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"Examples:\n{examples}" if examples else None,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    return described


class _HelpFormatter(RawDescriptionRichHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)

    def add_argument(self, action: argparse.Action) -> None:
        """Make room for the deeper indentation of commands, which argparse forgets."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment


if __name__ == "__main__":
    sys.exit(main())
