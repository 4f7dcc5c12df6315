"""Headers that are text: read up to their end and no further, whatever a file that is called so really holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import BinaryIO, Final

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read
from ps3d_core.store.location import Location

LONGEST: Final = 4 * 2**20
"""Bytes of a header; one that lists a hundred thousand slices has fewer."""
_PIECE: Final = 2**16
_WHOLE: Final = re.compile(r"[+-]?\d{1,15}")


def head_of(file: BinaryIO, end: re.Pattern[bytes], name: str) -> tuple[str, int]:
    """Return the header at the front of `file` up to where `end` matches, and the first byte behind it.

    Without a match the whole file is the header. Raise `InputError` when it is longer than a header can be.
    """
    head = b""
    while len(head) < LONGEST:
        piece = file.read(_PIECE)
        if match := end.search(head := head + (piece or b"\n")):
            return _decoded(head[: match.end()]), match.end()
        if not piece:
            return _decoded(head), len(head) - 1
    raise InputError(f"{name}: not a header, {LONGEST >> 20} MiB without its end; restore it or give another file")


def names_behind(file: BinaryIO, end: int) -> tuple[str, ...]:
    """Return the names of files that are listed, one a line, from byte `end` on, behind a header."""
    file.seek(end)
    return tuple(filter(None, map(str.strip, file.read(LONGEST).decode("utf-8", "replace").splitlines())))


def text_of(location: Location) -> str:
    """Return the text of a file that is nothing but a header. Raise `InputError` when it is none."""
    with open_to_read(location) as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST or b"\0" in text:
        raise InputError(f"{location}: not a header, which is text; restore it or give another file")
    return _decoded(text)


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """Values of a header by their names, and the file it stands in, which errors name."""

    file: str
    values: Mapping[str, str]

    def get(self, *names: str) -> str | None:
        """Return the value of the first of `names` that there is; None where there is none, or an empty one."""
        return next((value for name in names if (value := self.values.get(name))), None)

    def text(self, *names: str) -> str:
        """Return the value of the first of `names` that there is. Raise `InputError` where there is none."""
        if (value := self.get(*names)) is None:
            raise InputError(f"{self.file}: says no {names[0]}; restore it or convert the scan again")
        return value

    def integers(self, *names: str) -> tuple[int, ...]:
        """Return whole numbers. Raise `InputError` where there are none, or something else."""
        words = self.text(*names).split()
        if not all(map(_WHOLE.fullmatch, words)):
            raise self.wrong(names[0], "whole numbers")
        return tuple(map(int, words))

    def integer(self, *names: str, default: int | None = None) -> int:
        """Return one whole number, or the default. Raise `InputError` for anything else."""
        if default is not None and self.get(*names) is None:
            return default
        numbers = self.integers(*names)
        if len(numbers) != 1:
            raise self.wrong(names[0], "one whole number")
        return numbers[0]

    def numbers(self, *names: str) -> tuple[float, ...] | None:
        """Return numbers, NaN for infinite ones; None where nothing is said. Raise `InputError` for anything else."""
        name = next((name for name in names if self.values.get(name)), None)
        if name is None:
            return None
        try:
            return tuple(map(number, self.values[name].split()))
        except ValueError as error:
            raise self.wrong(name, "numbers") from error

    def flag(self, *names: str, default: bool = False) -> bool:
        """Return what is said with True or False by `names` for one thing.

        Raise `InputError` for anything else, and where they say different things.
        """
        said = {name: value.lower() for name in names if (value := self.values.get(name))}
        for name, text in said.items():
            if text not in ("true", "false"):
                raise self.wrong(name, "True or False")
        if len(set(said.values())) > 1:
            raise InputError(f"{self.file}: {' and '.join(said)} say different things; correct one of them")
        return "true" in said.values() if said else default

    def wrong(self, name: str, must: str) -> InputError:
        """Return the error for a value that is not what it must be."""
        value = self.values.get(name, "")
        return InputError(f"{self.file}: {name} {value[:60]!r}; must be {must}; restore the header or correct it")


@dataclass(frozen=True, slots=True)
class FlatHeader:
    """Header before flat voxels: its fields, files that are listed behind them, and the first byte behind it."""

    fields: HeaderFields
    names: tuple[str, ...]
    end: int


def fields_of(pairs: Iterable[tuple[str, str]], file: str) -> HeaderFields:
    """Return the fields of a header. Raise `InputError` when it says one of them twice, and not the same."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if values.setdefault(name, value) != value:
            raise InputError(f"{file}: {name} is said twice, {values[name][:40]!r} and {value[:40]!r}; keep one")
    return HeaderFields(file, values)


def number(text: str) -> float:
    """Return the number that a text is, NaN when it is infinite. Raise `ValueError` when it is none."""
    value = float(text)
    return value if isfinite(value) else float("nan")
