"""Which slice files are one scan, in which order, and whether one is missing: from their names alone.

Scanners number slices in many ways (slice_9, slice_10; z0001_20260131), and a folder may hold several scans whose
names differ in a number or a word (ore1_0000, ore2_0000; _80kV, _140kV). So names are taken apart into words and
numbers, and every way to read them is tried: one number counts the slices, others may tell scans apart, the rest (time
stamps, positions) change beside it. Where names can be read as one scan and as several, the user is asked.

A scan among others is chosen by a pattern, see `name_patterns`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from pathlib import PurePosixPath
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.scan.name_patterns import WILD, matches
from ps3d_core.scan.numberings import unusual_numbering

_DIGITS: Final = re.compile(r"([0-9]+)")
_WORDS: Final = re.compile(r"([_\-. ]+)")
_STAMP: Final = 100_000  # numbers from here on that rise with the slices are dates and times
_DENSE: Final = 0.5  # share of a range that is there when its numbers count slices
_MOST_LABELS: Final = 5  # numbers in a name that are tried, in every combination, as what tells scans apart
_NAMED: Final = 6

Row = tuple[int, ...]


def natural_order(names: Iterable[str]) -> list[str]:
    """Return `names` sorted so that slice_9 comes before slice_10; upper and lower case are alike."""
    return sorted(names, key=lambda name: (_parts(name), name))


def one_series(
    names: Iterable[str], folder: str, *, series: str | None = None, allow_gaps: bool = False
) -> tuple[str, ...]:
    """Return the slices of one scan among the file `names`, in order.

    `series` chooses some of the names: a pattern for the whole name, in any case, with or without its ending, or a
    word that only they have. Raise `InputError` when it chooses none; when the names are those of several scans; when
    they can be read so and `series` does not say that they are one; when two slices have the same number; and, unless
    `allow_gaps`, when the numbers leave one out. Names without any number are one scan.
    """
    ordered = natural_order(names)
    chosen = ordered if series is None else _matching(ordered, series, folder)
    _check_digits(chosen, folder)
    for first, second in pairwise(chosen):
        if _parts(first) == _parts(second):
            raise InputError(f"{folder}: {first} and {second} have the same number; remove one of them")
    scans, may_be_one = _scans_among(chosen)
    if len(scans) > 1 and not (may_be_one and series is not None):
        raise _several(scans, chosen, folder, may_be_one=may_be_one)
    if not allow_gaps:
        _check_count(chosen, folder)
    return tuple(chosen)


def order_note(names: Sequence[str]) -> str | None:
    """Return a note where no number tells the slices of one scan, in order, from each other; else None."""
    if len(names) < 2 or len({tuple(_written(name)) for name in names}) > 1:
        return None
    return f"no number counts its slices, which are in the order of the alphabet: {names[0]} first, {names[-1]} last"


def series_in(names: Iterable[str]) -> dict[str, int]:
    """Return how many slices each scan has of those that the names seem to belong to, by a pattern that chooses it."""
    scans, _ = _scans_among(natural_order(names))
    return {pattern: len(members) for pattern, members in scans.items()}


def chosen_by(series: str, names: Sequence[str]) -> list[str]:
    """Return those of `names` that `series` chooses: a pattern for the whole name, or a word that only they have."""
    wanted = series.casefold()
    chosen = [name for name in names if any(matches(wanted, text) for text in _with_and_without_ending(name))]
    if not chosen and wanted and not set(wanted) & WILD:
        # A word or number of its own: "ore1" is none of ore10, "80kV" none of 180kV.
        word = re.compile(f"{_edge(wanted[0], '?<!')}{re.escape(wanted)}{_edge(wanted[-1], '?!')}")
        chosen = [name for name in names if word.search(PurePosixPath(name).stem.casefold())]
    return chosen


def has_gap(names: Sequence[str]) -> bool:
    """Return whether the numbers in the names of one scan, in order, leave one out."""
    try:
        _check_count(names, "")
    except InputError:
        return True
    return False


def unread_beside(slices: Sequence[str], others: Iterable[str]) -> list[str]:
    """Return the `others` named like the `slices`, but for the ending, with numbers that no slice has, in order.

    A preview or a text beside each slice has a number that a slice has, too, and is none of these.
    """
    if len(slices) < 2 or not _is_uniform(slices):
        return []
    pattern, known = _pattern(slices).casefold(), {_numbers(name) for name in slices}
    return [
        name
        for name in natural_order(others)
        if matches(pattern, PurePosixPath(name).stem.casefold()) and _numbers(name) not in known
    ]


def _check_digits(names: Sequence[str], folder: str) -> None:
    """Raise `InputError` when names differ in numbers that are not written with 0 to 9, whose order nobody knows."""
    others = {name: "".join(c for c in PurePosixPath(name).stem if c.isnumeric() and not c.isascii()) for name in names}
    if len(set(others.values())) > 1:
        name = max(others, key=lambda name: bool(others[name]))
        raise InputError(
            f"{folder}: {name} has a number that is not written with the digits 0 to 9; rename the slices with one "
            "plain number each, like 0000, 0001, 0002"
        )


def _scans_among(names: Sequence[str]) -> tuple[dict[str, list[str]], bool]:
    """Slices by the pattern of the scan that they seem to belong to, and whether they may as well be one scan."""
    by_words: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        by_words[_words(name)].append(name)
    if len({tuple(_written(name)) for name in names}) == 1:  # no number tells one slice from another
        return _scans_by_word(names), True
    scans: dict[str, list[str]] = {}
    may_be_one = len(by_words) == 1
    for members in by_words.values():
        rows = [_numbers(name) for name in members]
        whole, parted = _whole(rows), _parted(rows, [_written(name) for name in members])
        may_be_one &= parted is None or _counts(whole) or not _counts(parted)
        for group in parted.groups if parted else [range(len(members))]:
            scan = [members[index] for index in group]
            scans[_pattern(scan)] = scan
    return scans, may_be_one


def _scans_by_word(names: Sequence[str]) -> dict[str, list[str]]:
    """Names without counting numbers: several scans when one of their words is shared by some, another by others."""
    words = [_WORDS.split(PurePosixPath(name).stem.casefold()) for name in names]
    if len(set(map(len, words))) == 1:
        changing = [column for column, values in enumerate(zip(*words, strict=True)) if len(set(values)) > 1]
        for column in changing if len(changing) > 1 else []:
            scans: defaultdict[str, list[str]] = defaultdict(list)
            for name, parts in zip(names, words, strict=True):
                kept = ["*" if at in changing and at != column else part for at, part in enumerate(parts)]
                scans["".join(kept)].append(name)
            if min(map(len, scans.values())) > 1:
                return scans
    return {"*": list(names)}


@dataclass(frozen=True, slots=True)
class _Reading:
    """Rows of numbers, parted into groups by the columns `labels` and counted in each by another column."""

    labels: tuple[int, ...]
    groups: Sequence[Sequence[int]]
    """Indices of rows."""
    counter: Sequence[int]
    """Of every row, the number that counts."""
    step: int | None
    """From each number of a group to the next, where it is the same everywhere."""
    density: float
    """How many of the numbers from the first to the last of each group are there."""


def _counts(reading: _Reading | None) -> bool:
    return reading is not None and reading.density >= _DENSE


def _whole(rows: Sequence[Row]) -> _Reading | None:
    """All rows as one scan, counted by the column that rises with the fewest gaps; None where every one repeats."""
    return max(_wholes(rows), key=lambda one: (_counts(one), _rises(one.counter), one.density), default=None)


def _wholes(rows: Sequence[Row]) -> list[_Reading]:
    return [reading for column in _changing(rows) if (reading := _read(rows, (), [range(len(rows))], column))]


def _parted(rows: Sequence[Row], written: Sequence[Sequence[str]]) -> _Reading | None:
    """Rows as several scans, as few as possible; None where they are one scan beyond doubt."""
    whole, changing = _whole(rows), _changing(rows)
    columns = [column for column in changing if _tells_apart([texts[column] for texts in written], whole)]
    columns = columns[:_MOST_LABELS]
    rivals: list[_Reading] = []
    explained: list[Sequence[Sequence[int]]] = []
    for labels in chain.from_iterable(combinations(columns, count + 1) for count in range(len(columns))):
        groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, texts in enumerate(written):
            groups[tuple(texts[column] for column in labels)].append(index)
        parts = list(groups.values())
        if whole and _counts(whole) and _are_stamps(labels, rows, whole.counter):
            explained.append(parts)
        readings = (_read(rows, labels, parts, column) for column in changing if column not in labels)
        rivals += [reading for reading in readings if reading and _is_rival(reading, whole)]
    doubtful = [reading for reading in rivals if reading.groups not in explained]
    return min(doubtful, key=lambda one: (not _counts(one), len(one.groups), len(one.labels)), default=None)


def _read(
    rows: Sequence[Row], labels: tuple[int, ...], groups: Sequence[Sequence[int]], column: int
) -> _Reading | None:
    counter = [row[column] for row in rows]
    counted = [sorted(counter[index] for index in group) for group in groups]
    if any(len(set(numbers)) < len(numbers) for numbers in counted) or _are_single(map(len, groups), len(rows)):
        return None
    steps = {after - before for numbers in counted for before, after in pairwise(numbers)}
    step = steps.pop() if len(steps) == 1 else None
    span = sum((numbers[-1] - numbers[0]) // (step or 1) + 1 for numbers in counted)
    return _Reading(labels, groups, counter, step, len(rows) / span)


def _is_rival(parted: _Reading, whole: _Reading | None) -> bool:
    """Whether the rows are as likely several scans as they are one."""
    if whole is None or not _counts(whole):
        return True
    if min(map(len, parted.groups)) == 1:  # else a number that now and then changes beside the one that counts
        return parted.density > whole.density
    return parted.step is not None if whole.step == 1 else _counts(parted)


def _are_stamps(labels: Sequence[int], rows: Sequence[Row], counter: Sequence[int]) -> bool:
    """Whether these columns are dates, or the hours of times that would not rise with the slices without them."""
    by_count = [row for _, row in sorted(zip(counter, rows, strict=True))]
    beside = [
        column for column in _changing(rows) if any(row[column] != n for n, row in zip(counter, rows, strict=True))
    ]

    def rise(columns: Sequence[int]) -> bool:
        values = [tuple(row[column] for column in columns) for row in by_count]
        return all(before <= after for before, after in pairwise(values))

    dates = all(min(row[column] for row in rows) >= _STAMP for column in labels) and rise(labels)
    return dates or (rise(beside) and not rise([column for column in beside if column not in labels]))


def _changing(rows: Sequence[Row]) -> list[int]:
    return [column for column, values in enumerate(zip(*rows, strict=True)) if len(set(values)) > 1]


def _tells_apart(values: Sequence[str], whole: _Reading | None) -> bool:
    """Whether these may be numbers of scans: each is there twice or, where nothing counts all slices, most are.

    What is there once may be a slice that strayed among those of another scan.
    """
    times = Counter(values).values()
    if whole is not None and whole.step == 1:
        return min(times) > 1
    return not _are_single(times, len(values))


def _are_single(sizes: Iterable[int], rows: int) -> bool:
    """Whether half of the rows or more are alone in their groups."""
    return 2 * sum(size == 1 for size in sizes) >= rows


def _rises(values: Sequence[int]) -> bool:
    return all(before < after for before, after in pairwise(values))


def _check_count(names: Sequence[str], folder: str) -> None:
    """Raise `InputError` when the number that counts the slices leaves one out, or is not what sorts them."""
    if len(names) < 2 or not _is_uniform(names):
        return
    rows = [_numbers(name) for name in names]
    whole = _whole(rows)
    if whole is None or not (_counts(whole) or _rises(whole.counter)):
        return
    for other in _wholes(rows):
        if _counts(other) and not (_rises(other.counter) or _rises(other.counter[::-1])):
            whole = other
    neighbours = list(zip(pairwise(whole.counter), pairwise(names), strict=True))
    for (before, after), (first, second) in neighbours:
        if after < before:
            raise InputError(
                f"{folder}: by name {first} comes before {second}, by number {after} before {before}; rename the "
                "slices so that the number that counts them comes first"
            )
    for (before, after), (first, second) in neighbours:
        if after > before + 1:
            missing = str(before + 1) if after == before + 2 else f"{before + 1} to {after - 1}"
            raise InputError(
                f"{folder}: slice {missing} is missing between {first} and {second}",
                "restore it",
                "accept that with <allow_gaps>",
            )


def _several(scans: dict[str, list[str]], names: Sequence[str], folder: str, *, may_be_one: bool) -> InputError:
    if (numbered := unusual_numbering([PurePosixPath(name).stem.casefold() for name in names])) is not None:
        return InputError(
            f"{folder}: {names[0]} to {names[-1]} seem to be numbered {numbered}, which are not read; rename the "
            "slices with one plain number each, like 0000, 0001, 0002"
        )
    named = [f"{len(members)} of {pattern}" for pattern, members in scans.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    largest = max(scans, key=lambda pattern: len(scans[pattern]))
    remedies = [f'choose one with <series> "{largest}"', "move the others elsewhere"]
    if may_be_one:
        all_of_them = _pattern(names) if _is_uniform(names) else "*"
        remedies.append(f'say that they are one scan of {len(names)} slices with <series> "{all_of_them}"')
    else:
        remedies.append("rename the slices with one plain number each if they are one scan")
    return InputError(
        f"{folder}: by their names these are slices of {len(scans)} scans: {', '.join(named[:_NAMED])}{more}", *remedies
    )


def _matching(names: Sequence[str], series: str, folder: str) -> list[str]:
    chosen = chosen_by(series, names)
    if not chosen:
        raise InputError(
            f"{folder}: none of {len(names)} slices is called {series!r}; their names are like {names[0]}",
            'correct <series>, a pattern like "ore1_*"',
        )
    return chosen


def _edge(character: str, look: str) -> str:
    if character.isdigit():
        return f"({look}[0-9])"
    return rf"({look}[^\W\d_])" if character.isalpha() else ""


def _with_and_without_ending(name: str) -> tuple[str, str]:
    return name.casefold(), PurePosixPath(name).stem.casefold()


def _parts(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_split(name)))


def _split(name: str) -> list[str]:
    return _DIGITS.split(PurePosixPath(name).stem.casefold())


def _words(name: str) -> tuple[str, ...]:
    return tuple(_split(name)[::2])


def _is_uniform(names: Sequence[str]) -> bool:
    """Whether the names differ only in numbers."""
    return len({_words(name) for name in names}) == 1


def _written(name: str) -> list[str]:
    return _split(name)[1::2]


def _numbers(name: str) -> Row:
    return tuple(map(int, _written(name)))


def _pattern(names: Sequence[str]) -> str:
    """Return a pattern that matches these names, which differ only in numbers: those that differ are #."""
    differ = _changing([_numbers(name) for name in names])
    parts = _DIGITS.split(PurePosixPath(names[0]).stem)
    return "".join("#" if index % 2 and index // 2 in differ else part for index, part in enumerate(parts))
