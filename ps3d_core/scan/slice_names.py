"""Order and completeness of slice files, from their names alone.

Scanners number slices in many ways (slice_9, slice_10; z0001_20260131), so names are compared by their text and
their numbers apart, and the column that counts is found rather than prescribed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from ps3d_core.errors import InputError

_ALLOW_GAPS = "allow gaps (--allow-gaps of ps3d ingest and export)"
_DIGITS = re.compile(r"([0-9]+)")


def natural_order(names: Iterable[str]) -> list[str]:
    """`names` sorted so that slice_9 comes before slice_10; upper and lower case are alike."""
    return sorted(names, key=lambda name: (_parts(name), name))


def check_numbering(names: Sequence[str], folder: str) -> None:
    """Raise `InputError` when the numbers in `names` (in natural order) leave one out or give one twice, or when the
    names do not belong to one series. Names without numbers are a series in any order.
    """
    series: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        series[_pattern(name)].append(name)
    if len(series) > 1 and any(len(members) > 1 for members in series.values()):
        odd = min(series.values(), key=len)[0]
        raise InputError(
            f"{folder}: {odd} does not fit the naming of the other slices; move it elsewhere, or {_ALLOW_GAPS}"
        )
    if len(series) > 1 or len(names) < 2:
        return
    counter = _counting_column([_numbers(name) for name in names])
    if counter is None:
        return
    for (before, after), (first, second) in zip(pairwise(counter), pairwise(names), strict=True):
        if after == before:
            raise InputError(f"{folder}: {first} and {second} have the same number; remove one of them")
        if after > before + 1:
            missing = str(before + 1) if after == before + 2 else f"{before + 1} to {after - 1}"
            raise InputError(
                f"{folder}: slice {missing} is missing between {first} and {second}; restore it, or {_ALLOW_GAPS}"
            )


def _counting_column(rows: Sequence[Sequence[int]]) -> Sequence[int] | None:
    # Several columns may change (a time stamp besides the slice number): the counter is the rising one of smallest
    # span. Columns that do not change count only when there is no other: then all slices have one number.
    columns = list(zip(*rows, strict=True))
    changing = [column for column in columns if len(set(column)) > 1]
    if len(changing) <= 1:
        return next(iter(changing or columns[-1:]), None)
    rising = [column for column in changing if all(a < b for a, b in pairwise(column))]
    return min(rising, key=lambda column: column[-1] - column[0], default=None)


def _parts(name: str) -> tuple[str | int, ...]:
    stem = PurePosixPath(name).stem.casefold()
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(stem)))


def _pattern(name: str) -> tuple[str, ...]:
    return tuple(str(part) for part in _parts(name)[::2])


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _parts(name)[1::2])
