"""Curves that instruments have measured, read from the text of a CSV file as they write it.

One line per size with at least two columns: the size, and which share passes or is retained. Lines before the first
with two numbers are a header, whose last line names the columns. Columns are separated by semicolons, tabs, commas or
blanks; numbers have a decimal point, or a comma where commas separate nothing. What the header does not say is asked.

The share may be cumulative, or that of each class; of classes, the size is the lower end of each, as a sieve holds it,
and 0 or the word pan is the pan. Shares are percent where the header says so, or where any is above 1; those of classes
may be masses.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from ps3d_core.errors import InputError
from ps3d_core.invalid import made
from ps3d_core.printable import printable
from ps3d_core.size_params import MOST_POINTS, MeasuredCurve

SizeUnit = Literal["um", "mm"]
ColumnKind = Literal["passing", "retained", "class"]

MOST_BYTES: Final = 1_000_000
_MOST_LINES: Final = 10_000
_MOST_IN_LINE: Final = 10_000
_MOST_IN_WORD: Final = 120
_SHOWN: Final = 40
_PAN: Final = re.compile(r"(pan|boden|bottom|<.*)", re.IGNORECASE)
_RANGE: Final = re.compile(r"[<>≤≥+-]\s*[\d.,]+.*|[\d.,]+\s*(-|–|\.\.+|to|bis)\s*[\d.,]+.*", re.IGNORECASE)
"""A class in words, which is no size."""
_NUMBER: Final = re.compile(r"[+-]?(\d{1,15}([.,]\d{0,15})?|[.,]\d{1,15})([eE][+-]?\d{1,3})?\s*%?")
_SIZE_WORDS: Final = re.compile(
    r"size|aperture|opening|diameter|mesh|sieve|durchmesser|gr(ö|oe)(ß|ss)e|weite|^\W*x\b|^\W*d\b", re.IGNORECASE
)
_PASSING_WORDS: Final = re.compile(r"passing|undersize|finer|durchgang|\bq3\b|q3\s*\(|cum.*under", re.IGNORECASE)
_RETAINED_WORDS: Final = re.compile(r"retained|oversize|coarser|r(ü|ue)ckstand|\br3\b|1\s*-\s*q3", re.IGNORECASE)
_CLASS_WORDS: Final = re.compile(
    r"\bp3\b|fraction|class|klasse|fraktion|mass\b|masse\b|weight\b|gewicht", re.IGNORECASE
)
_CUMULATIVE: Final = re.compile(r"cum|kum|summe|total|gesamt", re.IGNORECASE)
_MASS: Final = re.compile(r"(^|[^a-z])(mg|g|kg|gram|gramm|grams)([^a-z]|$)", re.IGNORECASE)
_PERCENT: Final = re.compile(r"%|per\s?cent|\bpct\b|prozent", re.IGNORECASE)
_UM: Final = re.compile(r"[µμ]m|(?<![a-z])um(?![a-z])|micron|mikrometer|micromet", re.IGNORECASE)
_MM: Final = re.compile(r"(?<![a-z])mm(?![a-z])|millimet", re.IGNORECASE)


class _Table(NamedTuple):
    header: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    decimal_comma: bool


class _Columns(NamedTuple):
    size: int
    share: int
    unit: SizeUnit
    kind: ColumnKind | None
    percent: bool
    certain: bool  # that the kind is what it is said to be


def decoded(content: bytes, name: str) -> str:
    """Return the text of a file as instruments write it: UTF-8, UTF-16 with its mark, or Windows' western one.

    Raise `InputError` when it is too large, or no text.
    """
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: {len(content)} bytes; a curve has at most {MOST_BYTES}, give the table alone")
    if b"\x00" in content and content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{name}: no text; give a CSV file, as its program exports it")
    for encoding in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{name}: no text of any usual encoding; save it as UTF-8")


def measured_curve(
    text: str, name: str, *, unit: SizeUnit | None = None, kind: ColumnKind | None = None
) -> MeasuredCurve:
    """Return the curve that a CSV text has.

    Args:
        text: content of the file.
        name: what the curve is called in messages and charts.
        unit: of sizes; as the header says when absent.
        kind: whether shares are those that pass or are retained, cumulative, or those of classes; as the header says,
            or passing, when absent.

    Raises:
        InputError: for a text that has no such curve; it names the line, and says what would be right.

    """
    table = _table(text, name)
    columns = _columns(table, name, unit, kind)
    points = [
        (_size(cells, columns, table, f"{name}, line {line}"), _share(cells, columns, table, f"{name}, line {line}"))
        for line, cells in table.rows
    ]
    _require_order([size for size, _ in points if size > 0], name)
    pan = sum(share for size, share in points if size <= 0)
    points = sorted(point for point in points if point[0] > 0)
    if len(points) < 2:
        raise InputError(f"{name}: {len(points)} points; a curve needs at least 2 sizes above 0")
    if len(points) > MOST_POINTS:
        raise InputError(f"{name}: {len(points)} points; a curve has at most {MOST_POINTS}, leave some out")
    sizes, shares = [size for size, _ in points], [share for _, share in points]
    passing = _passing(shares, pan, columns, name)
    try:
        return made(MeasuredCurve, name=printable(name)[:200], size_mm=sizes, passing=passing)
    except InputError as error:
        raise error.about(name) from error


def _require_order(sizes: list[float], name: str) -> None:
    """Raise `InputError` unless sizes rise or fall from line to line, as of any stack of sieves."""
    steps = list(pairwise(sizes))
    rising = sum(one < other for one, other in steps)
    if rising in (0, len(steps)) or all(one <= other for one, other in steps) or all(a >= b for a, b in steps):
        return
    one, other = next((a, b) for a, b in steps if (a < b) != (2 * rising > len(steps)))
    raise InputError(
        f"{name}: size {other:g} mm after {one:g} mm; sizes must rise or fall from line to line, without marks of "
        "thousands: correct it"
    )


def _table(text: str, name: str) -> _Table:
    lines = text.splitlines()
    if len(lines) > _MOST_LINES:
        raise InputError(f"{name}: {len(lines)} lines; a curve has at most {_MOST_LINES}, give the table alone")
    separator = _separator(lines)
    header: tuple[str, ...] = ()
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, 1):
        if len(line) > _MOST_IN_LINE:
            raise InputError(f"{name}, line {number}: {len(line)} characters; a line has at most {_MOST_IN_LINE}")
        cells = [cell.strip() for cell in _cut(line, separator)]
        if sum(_is_number(cell) for cell in cells) >= 2 or ((rows or header) and _is_pan(cells)):
            rows.append((number, cells))
        elif rows and line.lstrip().startswith("#"):
            continue  # a remark between the rows
        elif any(cells) and (rows or _has_a_share(cells)):
            raise InputError(f"{name}, line {number}: {line[:_SHOWN]!r} has not two numbers; correct or remove it")
        elif sum(map(bool, cells)) >= 2 or (any(cells) and not header):
            header = _with_units(header, tuple(cell[:_MOST_IN_WORD] for cell in cells))
    if not rows:
        raise InputError(f"{name}: no line with two numbers; give a size and a share in each line, separated by ;")
    _require_one_way_of_writing(header, rows, separator, name)
    return _Table(header, rows, separator != ",")


def _has_a_share(cells: list[str]) -> bool:
    """Whether a line begins with a size, or with a class in words, and says something of it: no header does."""
    more = any(cells[1:]) if _is_number(cells[0]) else any(map(_is_number, cells[1:]))
    return more and (_is_number(cells[0]) or _RANGE.fullmatch(cells[0]) is not None)


def _require_one_way_of_writing(
    header: tuple[str, ...], rows: list[tuple[int, list[str]]], separator: str | None, name: str
) -> None:
    """Raise `InputError` where a comma could be a decimal one, or one of thousands: figures would be wrong."""
    widest = max(rows, key=lambda row: _width(row[1]))
    if separator == "," and _width(header) > 1 and _width(widest[1]) > _width(header):
        raise InputError(
            f"{name}, line {widest[0]}: {_width(widest[1])} columns under a header of {_width(header)}; "
            "decimal commas between commas cannot be told apart, separate columns by semicolons"
        )
    marks = {mark for _, cells in rows for cell in cells if _is_number(cell) for mark in ".," if mark in cell}
    if len(marks) > 1:
        raise InputError(f"{name}: numbers with decimal points and with commas; write all in one way, and no thousands")


def _width(cells: Sequence[str]) -> int:
    """Number of columns up to the last that is not empty."""
    return max((k for k, cell in enumerate(cells, 1) if cell), default=0)


def _with_units(header: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    """The last line of a header, and the one before where the last has nothing but units."""
    named = any(_kind_of(word) or _SIZE_WORDS.search(word) for word in words)
    if named or len(header) != len(words):
        return words
    return tuple(f"{above} {word}" for above, word in zip(header, words, strict=True))


def _separator(lines: list[str]) -> str | None:
    """What separates columns, None for blanks; commas only where nothing else does, as they may be decimal."""
    text = "\n".join(lines)
    for mark in (";", "\t"):
        if mark in text:
            return mark
    numbers = [line for line in lines if line.strip()[:1].isdigit()]
    if numbers and all(len(cells := line.split()) >= 2 and all(map(_is_number, cells[:2])) for line in numbers):
        return None if not all("," in line and "." in line and ", " in line for line in numbers) else ","
    return "," if "," in text else None


def _cut(line: str, separator: str | None) -> list[str]:
    return line.split() if separator is None else next(csv.reader([line], delimiter=separator), [])


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _is_pan(cells: list[str]) -> bool:
    return bool(cells) and _PAN.fullmatch(cells[0]) is not None and any(map(_is_number, cells[1:]))


def _number(cell: str, decimal_comma: bool, where: str) -> float:
    if not _is_number(cell) or (not decimal_comma and "," in cell):
        raise InputError(f"{where}: {cell[:_SHOWN]!r} is no number; write it without blanks, like 12.5")
    return float(cell.rstrip("% \t").replace(",", "."))


def _columns(table: _Table, name: str, unit: SizeUnit | None, kind: ColumnKind | None) -> _Columns:
    header, width = table.header, min(len(cells) for _, cells in table.rows)
    words = [*header[:width], *[""] * (width - len(header))]
    size = next((k for k, word in enumerate(words) if _SIZE_WORDS.search(word) and not _kind_of(word)), 0)
    others = [k for k in range(width) if k != size]
    named = [(k, found) for k in others if (found := _kind_of(words[k])) is not None]
    # A curve that accumulates says more than the classes beside it.
    named.sort(key=lambda each: (each[1] != kind if kind else each[1] == "class", each[0]))
    share, found = named[0] if named else (others[0], _kind_of(" ".join(header)))
    unit = unit or _unit_of(words[size]) or _unit_of(" ".join(header))
    if unit is None:
        raise InputError(
            f'{name}: the header does not say whether sizes are um or mm; write it there, like "size, um"',
            "say it with <sieve_unit>",
        )
    certain = kind is not None or _CUMULATIVE.search(words[share]) is not None
    return _Columns(size, share, unit, kind or found, _is_percent(words[share], share, table), certain)


def _is_percent(word: str, share: int, table: _Table) -> bool:
    """Whether the name of a column, or one of its cells, says percent."""
    cells = (cells[share] for _, cells in table.rows if share < len(cells))
    return _PERCENT.search(word) is not None or any(cell.endswith("%") for cell in cells)


def _unit_of(words: str) -> SizeUnit | None:
    """The only unit of length that words name."""
    um, mm = _UM.search(words) is not None, _MM.search(words) is not None
    return None if um == mm else "um" if um else "mm"


def _kind_of(word: str) -> ColumnKind | None:
    """What the shares of a column are, by its name."""
    if _PASSING_WORDS.search(word):
        return "passing"
    if _RETAINED_WORDS.search(word):
        return "class" if _MASS.search(word) else "retained"
    return "class" if _CLASS_WORDS.search(word) and not _SIZE_WORDS.search(word) else None


def _size(cells: list[str], columns: _Columns, table: _Table, where: str) -> float:
    cell = cells[columns.size]
    if _PAN.fullmatch(cell) and not _is_number(cell):
        return 0.0
    size = _number(cell, table.decimal_comma, where)
    if size < 0:
        raise InputError(f"{where}: size {size:g}; must be at least 0, correct it")
    return size / 1000 if columns.unit == "um" else size


def _share(cells: list[str], columns: _Columns, table: _Table, where: str) -> float:
    if len(cells) <= columns.share:
        raise InputError(f"{where}: {len(cells)} columns; the share is in column {columns.share + 1}")
    share = _number(cells[columns.share], table.decimal_comma, where)
    if share < 0:
        raise InputError(f"{where}: share {share:g}; must be at least 0, correct it")
    return share


def _passing(shares: list[float], pan: float, columns: _Columns, name: str) -> list[float]:
    """Share, 0 to 1, that passes each size, of shares in rising order of size and of what is below all of them."""
    kind = columns.kind or "passing"
    whole = 100.0 if columns.percent or max(shares) > 1 else 1.0
    if kind == "retained" and not columns.certain and _is_by_class(shares, pan, whole):
        kind = "class"  # what a sieve holds alone is called so as well
    if kind == "class":
        return _summed(shares, pan, name)
    if max(shares) > 1.005 * whole:
        raise InputError(f"{name}: share {max(shares):g}; must be at most {whole:g}, correct it")
    passing = [min(1.0, share / whole) for share in shares]
    return [1 - share for share in passing] if kind == "retained" else passing


def _is_by_class(shares: list[float], pan: float, whole: float) -> bool:
    """Whether retained shares are those of each sieve alone, in place of all that is coarser."""
    falls = all(other <= one for one, other in pairwise(shares))
    return not falls or abs(pan + sum(shares) - whole) < 0.01 * whole


def _summed(shares: list[float], pan: float, name: str) -> list[float]:
    """Share that passes each size, of what lies on it: all that is on finer ones and in the pan."""
    total = pan + sum(shares)
    if total <= 0:
        raise InputError(f"{name}: all shares are 0; give what lies on each sieve")
    passing, upto = [], pan
    for share in shares:
        passing.append(min(1.0, upto / total))
        upto += share
    return passing
