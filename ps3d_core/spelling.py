"""What somebody probably meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(given: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `given`, whatever the case of letters; None when none is much like it."""
    by_letters = {name.casefold(): name for name in known}
    close = get_close_matches(given.casefold(), by_letters, n=1)
    return by_letters[close[0]] if close else None
