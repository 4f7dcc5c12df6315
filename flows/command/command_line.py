"""Command line of `ps3d`: its commands, their arguments, and one line for what it does not understand.

Each command is a module with `PURPOSE`, `EXAMPLES`, `configure(parser)` and `run(args)`. Only the one that is called is
configured, from the fields of its parameters; everything heavy waits until it runs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from ps3d_app.flows import options
from ps3d_app.flows.command.commands import COMMANDS, Command
from ps3d_app.flows.command.outcome import USAGE
from ps3d_app.flows.machine.streams import complain
from ps3d_core.spelling import meant
from ps3d_core.version import __version__

DESCRIPTION = "Every particle in a micro-CT scan: segmented, measured, plotted."
FIRST_STEPS = """\
First steps:
  ps3d demo                                           see it work on a synthetic scan
  ps3d ingest slices/ data --name ore --spacing 0.01 --particle-size 0.3
  ps3d segment data results --name ore                labels, table and report in results/ore/

Lengths are in mm, axes are z y x. A store is a folder, s3://bucket/prefix or memory://name.
`ps3d COMMAND --help` explains a command."""


def ps3d_parser() -> argparse.ArgumentParser:
    """Return the parser of `ps3d` with all its commands."""
    parser = _Parser(
        prog="ps3d", description=DESCRIPTION, epilog=FIRST_STEPS, formatter_class=_HelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"ps3d {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction[_Parser]] = {}
    whole: dict[str, _Parser] = {}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group in whole:  # a command by itself, whose first argument may be a word instead
            own = _described(_Parser, f"ps3d {name}", command.PURPOSE, command.EXAMPLES)
            whole[group].words[last] = own
            own.configure = partial(_configure, own, name, command)
            continue
        if group and group not in groups:
            members = [last for each in COMMANDS for first, _, last in [each.rpartition(" ")] if first == group]
            parent = _add(commands, group, f"{group}s: {', '.join(members)}", "")
            groups[group] = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)
        own = whole[name] = _add(groups[group] if group else commands, last, command.PURPOSE, command.EXAMPLES)
        own.configure = partial(_configure, own, name, command)
    return parser


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """Return the parser of a command that has a name of its own besides `ps3d`."""
    parser = _described(_Parser, name, command.PURPOSE, command.EXAMPLES)
    _configure(parser, name, command)
    return parser


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line, like all other errors, with what was probably meant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.words: dict[str, _Parser] = {}
        """First arguments that are commands below this one."""
        self.configure: Callable[[], None] | None = None
        """Adds the command's arguments, once somebody calls this command."""

    def error(self, message: str) -> NoReturn:
        complain(f"{_in_our_words(message, self._option_string_actions)} see {self.prog} --help")
        sys.exit(USAGE)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is left over here, where the options are known, not in the parser of all commands."""
        configure, self.configure = self.configure, None
        if configure is not None:
            configure()
        if args and args[0] in self.words:
            return self.words[args[0]].parse_known_args(args[1:], namespace)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


# What argparse says, and how the errors of commands say such things.
_REWORDED: Final = (
    (r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)", r"\1 \2: must be one of \3;"),
    (r"argument (\S+): invalid float value: '(.*)'", r"\1 \2: must be a number;"),
    (r"argument (\S+): (expected .*|not allowed with .*)", r"\1: \2;"),
    (r"argument (\S+): (.*)", r"\1 \2;"),
    (r"the following arguments are required: (.*)", r"\1: missing;"),
)


def _in_our_words(message: str, options: Iterable[str]) -> str:
    if match := re.match(r"argument COMMAND: invalid choice: '(.*?)' \(choose from (.*)\)", message):
        commands = re.findall(r"[\w-]+", match[2])
        near, listed = meant(match[1], commands), ", ".join(commands)
        return f"{match[1]}: no command; {f'did you mean {near}?' if near else f'there are {listed};'}"
    if match := re.match("unrecognized arguments: (.*)", message, re.DOTALL):
        near = next((found for word in match[1].split() if (found := _option_meant(word, options))), None)
        return (
            f"{match[1]}: not understood; {f'did you mean {near}?' if near else 'put quotes around what has spaces;'}"
        )
    for said, ours in _REWORDED:
        if match := re.fullmatch(said, message, re.DOTALL):
            return match.expand(ours).replace("'", "")
    return f"{message};"


def _option_meant(word: str, options: Iterable[str]) -> str | None:
    return meant(word.partition("=")[0], options) if word.startswith("-") else None


def _configure(parser: _Parser, name: str, command: Command) -> None:
    command.configure(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(command=command, name_of_command=name.replace(" ", "-"), options=options.of_command(parser))


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
