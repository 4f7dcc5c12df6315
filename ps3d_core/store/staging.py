"""Output that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ps3d_core.store.location import Location, writing_to


@contextmanager
def all_or_nothing(target: Location) -> Iterator[Location]:
    """Yield the place to write to; it becomes `target` when the body ends, and is removed when the body fails.

    On a folder the place is a hidden neighbour, renamed at the end, so that something that was at `target` stays
    until then. On object stores renaming is copying: there the place is `target` itself, whose last object must be
    the one that makes it valid, unless something is already there.
    """
    local = target.local_path is not None
    place = target.parent / f".{target.name}.partial" if local or target.exists() else target
    missing = [folder for folder in (target.parent, target.parent.parent) if local and not folder.exists()]
    place.remove_tree()
    try:
        with writing_to(target):
            yield place
        if place != target:
            target.remove_tree()
            place.rename(target)
    except BaseException:
        place.remove_tree()
        for folder in missing:
            if not folder.children():
                folder.remove_tree()
        raise
