"""What somebody may have changed by hand is kept under another name before something new takes its place."""

from __future__ import annotations

from itertools import count

from ps3d_core.store.location import Location


def set_aside(place: Location) -> Location | None:
    """Rename the file or folder at `place` to NAME.kept-1, or the first such name that is free; None if none is there.

    On object stores it is copied and then deleted: an interruption may leave it under both names, and loses nothing.
    """
    if not place.exists():
        return None
    taken = set(place.parent.children())
    name = next(name for number in count(1) if (name := f"{place.name}.kept-{number}") not in taken)
    place.rename(kept := place.parent / name)
    return kept
