"""Ways to number slices that are not counted here, and look like several scans: signs, decimals, hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, takewhile
from typing import Final

_SIGN: Final = re.compile(r"[+\-](?=[0-9])")
_SIGNED: Final = re.compile(r"(.*?)([+\-]?[0-9]+)([^0-9]*)")
_DECIMAL: Final = re.compile(r"(.*?)([+\-]?[0-9]+[.,][0-9]+)([^0-9]*)")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]+")
_DENSE: Final = Fraction(1, 2)  # share of a range that is there when its numbers count slices


def unusual_numbering(stems: Sequence[str]) -> str | None:
    """Return how one scan seems to be numbered by its file names; None for any usual way.

    The names are without endings and in lower case. Only a guess: two scans may be named so as well.
    """
    if _is_range(_positions(stems, _DECIMAL)):
        return "by positions with decimals"
    if any(_SIGN.search(stem) for stem in stems) and _is_range(_positions(stems, _SIGNED)):
        return "by positions with signs"
    return "by hexadecimal numbers" if _is_range(_hexadecimals(stems)) else None


def _positions(stems: Sequence[str], form: re.Pattern[str]) -> list[Fraction]:
    """The last number of every name, where all else is the same in all of them."""
    parts = [form.fullmatch(stem) for stem in stems]
    found = [part for part in parts if part]
    if len(found) < len(stems) or len({(part[1], part[3]) for part in found}) > 1:
        return []
    return [Fraction(part[2].replace(",", ".")) for part in found]


def _hexadecimals(stems: Sequence[str]) -> list[Fraction]:
    start = _common(stems)
    end = _common([stem[start:][::-1] for stem in stems])
    digits = [stem[start : len(stem) - end] for stem in stems]
    if not all(map(_HEXADECIMAL.fullmatch, digits)) or all(map(str.isdigit, digits)) or all(map(str.isalpha, digits)):
        return []
    return [Fraction(int(text, 16)) for text in digits]


def _common(texts: Sequence[str]) -> int:
    """With how many characters that are the same all texts begin."""
    return len(list(takewhile(lambda characters: len(set(characters)) == 1, zip(*texts, strict=False))))


def _is_range(values: Sequence[Fraction]) -> bool:
    """Whether the values are mostly all from the first to the last, at equal steps."""
    steps = [after - before for before, after in pairwise(sorted(values))]
    if not steps or min(steps) == 0:
        return False
    step = min(steps)
    return all(each % step == 0 for each in steps) and len(values) >= _DENSE * (sum(steps) / step + 1)
