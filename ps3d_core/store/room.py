"""Whether there is room for what is about to be written, where the store can say so."""

from __future__ import annotations

import shutil
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.store.location import Location

# Labels and classes compress well: of what a plan says, a thirtieth was written by a run on a phantom. Refused is only
# what cannot fit.
_LEAST_SHARE: Final = 50
_GIB: Final = 2**30


def free_bytes(place: Location) -> int | None:
    """Return the bytes free where `place` is or would be; None where that cannot be known, as on object stores."""
    folder = place.local_path
    if folder is None:
        return None
    there = next((parent for parent in (folder, *folder.parents) if parent.exists()), None)
    return None if there is None else shutil.disk_usage(there).free


def require_room(place: Location, uncompressed: int, *remedies: str) -> None:
    """Raise `InputError` when `uncompressed` bytes of voxels cannot fit at `place`, however well they compress.

    `remedies` are those besides making room.
    """
    free = free_bytes(place)
    if free is not None and uncompressed > _LEAST_SHARE * free:
        raise InputError(
            f"{place}: {free / _GIB:.3g} GiB free; at least {uncompressed / _LEAST_SHARE / _GIB:.3g} GiB will be "
            f"written there (up to {uncompressed / _GIB:.3g})",
            "make room",
            *remedies,
        )
