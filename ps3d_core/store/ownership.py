"""What ps3d made, told from what it did not: only the former is ever removed or written over.

Volumes carry a mark of their own (an attribute of a Zarr, a field of the header of a TIFF, NIfTI, MetaImage or NRRD;
see `scan.authorship`).
Folders that are ps3d's as a whole, its work and what is in the making, hold `MARK_FILE` from their first moment on.
Loose files, which have no room for a mark, are known by what was written (see `publishing`).

Somebody may put files of theirs into a folder of ours. So such a folder is never removed as a whole: what ps3d writes
there has names of known forms, and only these go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any, Final

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.store.location import Location
from ps3d_core.version import __version__

MARK: Final = "ps3d"
"""Name of the attribute of a Zarr, and of the entry in `MARK_FILE`, that says who made it."""
MARK_FILE: Final = ".ps3d.json"

_WRITING: Final = r"(?:\.[0-9a-f]{32}\.partial)?"  # what Zarr leaves of a file when it is killed while writing it
_TEMPORARY: Final = r"\.[^/]+\.[0-9a-f]{32}\.tmp"  # and what `Location` leaves
_ZARR: Final = rf"zarr(?:\.json|\.[0-9a-f]{{32}}\.partial)|c(?:/\d+)+{_WRITING}"

ZARR_FILES: Final = re.compile(rf"(?:\d+/)?(?:{_ZARR}|{_TEMPORARY})|{re.escape(MARK_FILE)}|phantom\.json")
"""Names below a Zarr that ps3d writes: an array, or an image with its levels."""
WORK_FILES: Final = re.compile(rf"(?:[^/]+/)*(?:{_ZARR}|[\w-]+\.(?:json|npz)|{_TEMPORARY}|{re.escape(MARK_FILE)})")
"""Names below a folder of intermediates."""
_UNFINISHED: Final = re.compile(rf"(?:.*/)?(?:zarr|\d+)\.[0-9a-f]{{32}}\.partial|(?:.*/)?{_TEMPORARY}")


def mark_own(folder: Location) -> None:
    """Mark `folder`, which is made when it is not there, as ps3d's own."""
    (folder / MARK_FILE).create_json({MARK: __version__})


def is_own(folder: Location) -> bool:
    """Return whether `folder` was marked by `mark_own`; never true of a link."""
    if is_link(folder):
        return False
    try:
        content = (folder / MARK_FILE).read_json()
    except (InputError, MissingDataError, OSError):
        return False
    return isinstance(content, dict) and MARK in content


def unmark(folder: Location) -> None:
    """Remove the mark of ps3d from `folder`: from here on the folder is whatever lies in it."""
    (folder / MARK_FILE).remove_tree()


def zarr_is_own(place: Location) -> bool:
    """Return whether a Zarr that ps3d wrote or began is at `place`, and nothing of anybody else's in it."""
    if is_link(place) or not place.is_dir() or strangers(place, ZARR_FILES):
        return False
    return is_own(place) or any(str(name).startswith(MARK) for name in zarr_attributes(place))


def work_is_own(folder: Location) -> bool:
    """Return whether `folder` holds intermediates of ps3d's; those of earlier releases have no mark."""
    if is_own(folder):
        return True
    kept = {"ledger", "stages"} & set(folder.children())
    return bool(kept) and not is_link(folder) and not strangers(folder, WORK_FILES)


def zarr_attributes(place: Location) -> dict[str, Any]:
    """Return the attributes of the Zarr 3 group or array at `place`; empty when it is none or cannot be read."""
    try:
        attributes = (place / "zarr.json").read_json()["attributes"]
    except (InputError, MissingDataError, OSError, LookupError, TypeError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def strangers(folder: Location, known: re.Pattern[str]) -> list[str]:
    """Return the names of files below `folder`, relative to it, that are not of a `known` form; sorted."""
    return sorted(name for name in files_below(folder) if not known.fullmatch(name))


def remove_own(folder: Location, known: re.Pattern[str]) -> None:
    """Remove what has `known` names from a folder of ours, and the folder when nothing else is in it.

    The mark goes last, so that an interrupted removal can be repeated.
    """
    files = list(files_below(folder))
    names = [name for name in files if known.fullmatch(name) and name != MARK_FILE]
    if (path := folder.local_path) is None:
        folder.remove_files(names)
        if set(files) <= {*names, MARK_FILE}:
            unmark(folder)
        return
    for name in names:
        (path / name).unlink(missing_ok=True)
    for parent, _, _ in os.walk(path, topdown=False):
        if Path(parent) != path:
            remove_if_empty(Path(parent))
    if path.is_dir() and set(os.listdir(path)) <= {MARK_FILE}:
        (path / MARK_FILE).unlink(missing_ok=True)
        remove_if_empty(path)


def remove_unfinished(place: Location) -> None:
    """Remove what killed processes left of files at and below `place`, where nobody writes now.

    Only on a folder: an object is on its store as a whole or not at all.
    """
    if (path := place.local_path) is None:
        return
    begun = [file for file in path.parent.glob(f".{escape(path.name)}.*.tmp") if _UNFINISHED.fullmatch(file.name)]
    for file in (*begun, *(path / name for name in files_below(place) if _UNFINISHED.fullmatch(name))):
        file.unlink(missing_ok=True)


def remove_if_empty(path: Path) -> None:
    """Remove a folder that has nothing in it; anything else stays."""
    with suppress(OSError):
        path.rmdir()


def is_link(place: Location) -> bool:
    """Return whether a symbolic link is at `place`, behind which anything may be."""
    path = place.local_path
    return path is not None and path.is_symlink()


def files_below(folder: Location) -> Iterator[str]:
    """Yield the relative names of all files below `folder`, links among them."""
    if (path := folder.local_path) is None:
        yield from folder.find(hidden=True)
        return
    for parent, folders, files in os.walk(path):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*files, *links):
            yield (Path(parent) / name).relative_to(path).as_posix()
