"""The errors this library raises on purpose.

Every error has this family and a builtin as bases, so callers catch either. A message is one line that names the
offending value, the limit it broke and what to change.

What to change has another name in every front end: --allow-gaps on the command line, "allow_gaps" in a form, nothing at
all in an inbox. So an `InputError` keeps its remedies apart from the problem, with options in angle brackets
(`"accept it with <allow_gaps>"`), and each front end words those that it has and leaves out the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

Wording = Callable[[str], str | None]
"""From an option's name in Python to what it is called where the message is read; None where it does not exist."""

_OPTION: Final = re.compile(r"<([a-z][a-z0-9_]*)>")


class Ps3dError(Exception):
    """Base of every error the library raises deliberately.

    Args:
        problem: names the value and the limit; may end with a remedy that exists everywhere, after a semicolon.
        remedies: what would help, the best first. Options stand in angle brackets by the names of Python's parameters,
            like `<particle_size>`; a remedy is told only where all its options exist.

    """

    names: Mapping[str, str] | None = None
    """What options are called where the message is read by itself; by their names in Python when absent."""

    def __init__(self, problem: str, *remedies: str) -> None:
        super().__init__(problem, *remedies)

    def __str__(self) -> str:
        return self.worded(self.names.get if self.names is not None else lambda option: option)

    def worded(self, wording: Wording) -> str:
        """Return the message, in which options are called what `wording` says.

        Remedies with an option for which `wording` has no name are left out.
        """
        problem, *remedies = map(str, self.args)
        told = [text for remedy in remedies if (text := _worded(remedy, wording)) is not None]
        return f"{problem}; {', or '.join(told)}" if told else problem


class InputError(Ps3dError, ValueError):
    """Something the user gave (a file, a flag, metadata, a model) cannot be used; the command exits with status 2."""

    def about(self, subject: str) -> InputError:
        """Return an error with the remedies of this one, whose message begins with `subject`, what it is about."""
        problem, *remedies = map(str, self.args)
        return InputError(f"{subject}: {problem}", *remedies)


class StoreError(Ps3dError, OSError):
    """A store could not deliver or take data."""


class MissingDataError(StoreError):
    """A chunk, shard or file that must exist does not; never read as zeros."""


class CorruptDataError(StoreError):
    """A stored chunk does not match its checksum or cannot be decoded."""


class AccessDeniedError(StoreError, PermissionError):
    """A store refuses this account, or was given none."""


class NoSpaceError(StoreError):
    """A store has no room left for what is to be written."""


OF_THE_INPUT: Final = (InputError, MissingDataError, CorruptDataError, AccessDeniedError)
"""What lies with the one who gave the input: it cannot be used, is damaged, is not there or not theirs to use."""


def worded(error: BaseException, wording: Wording) -> str:
    """Return the message of any error, with the options of an error of ps3d called what `wording` says."""
    return error.worded(wording) if isinstance(error, Ps3dError) else str(error)


def _worded(remedy: str, wording: Wording) -> str | None:
    names = {option: wording(option) for option in _OPTION.findall(remedy)}
    if None in names.values():
        return None
    return _OPTION.sub(lambda match: str(names[match[1]]), remedy)
