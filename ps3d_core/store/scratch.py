"""Places for the files of a call, in memory or in a temporary folder, that go when it is done."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from ps3d_core.store.location import Location


def fresh_place(*, in_memory: bool) -> Location:
    """Make a place that nobody else has, in the memory of this process or in a temporary folder."""
    if in_memory:
        return Location.parse(f"memory://ps3d-{uuid.uuid4().hex}")
    return Location.parse(tempfile.mkdtemp(prefix="ps3d-"))


def remove_with(owner: object, place: Location) -> None:
    """Remove `place` when `owner` is no longer used, at the latest when the process ends."""
    weakref.finalize(owner, remove, place)


@contextmanager
def temporary(*, in_memory: bool = False) -> Iterator[Location]:
    """Hold a place for the files of a call while the body runs; remove it afterwards, also after an interruption."""
    place = fresh_place(in_memory=in_memory)
    try:
        yield place
    finally:
        remove(place)


def remove(place: Location) -> None:
    """Remove a place with everything in it."""
    if (path := place.local_path) is not None:
        shutil.rmtree(path, ignore_errors=True)
    else:
        place.remove_tree()
