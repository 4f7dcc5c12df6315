"""What somebody may have changed by hand is kept under another name before something new takes its place."""

from __future__ import annotations

from itertools import count

from ps3d_core.store.location import Location


def set_aside(place: Location) -> Location | None:
    """Rename a file or folder to the first free of NAME.kept-1, NAME.kept-2, ...; None when nothing is at `place`."""
    if not place.exists():
        return None
    kept = next(name for number in count(1) if not (name := place.parent / f"{place.name}.kept-{number}").exists())
    place.rename(kept)
    return kept
