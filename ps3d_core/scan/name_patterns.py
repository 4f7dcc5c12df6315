"""Patterns that choose files by name.

* stands for anything, ? for one character, # for the digits of a number (or for itself).
"""

from __future__ import annotations

from typing import Final

WILD: Final = frozenset("*?#")


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole of `text` is like `pattern`.

    All ways to match are followed at once, character by character, so no pattern takes longer than its length times
    that of the text.
    """
    places = _with_stars_skipped(pattern, {0})
    for character in text:
        places = _with_stars_skipped(pattern, _after(pattern, places, character))
    return len(pattern) in places


def _after(pattern: str, places: set[int], character: str) -> set[int]:
    """Places in the pattern that are reached from `places` by one more character."""
    reached: set[int] = set()
    for place in places:
        wanted = pattern[place : place + 1]
        in_number = wanted == "#" and character in "0123456789#"
        if wanted == "*" or in_number:  # and there may be more of them
            reached.add(place)
        if in_number or (wanted and wanted in ("?", character)):
            reached.add(place + 1)
    return reached


def _with_stars_skipped(pattern: str, places: set[int]) -> set[int]:
    reached = set(places)
    for place in places:
        stars = len(pattern[place:]) - len(pattern[place:].lstrip("*"))
        reached.update(range(place, place + stars + 1))
    return reached
