"""Files change their folder so that a kill at any moment loses none, and the same call afterwards ends the same.

On a folder each file is renamed, which is one step. On object stores, where moving is copying, all are copied, the
store is asked whether all are there in full, and only then the first one is deleted.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ps3d_core.errors import MissingDataError
from ps3d_core.store.location import Location, writing_to


def move_files(source: Location, names: Mapping[str, str], target: Location) -> None:
    """Move files of `source` to `target`: {relative name there: relative name here}.

    Files that are no longer at `source` were moved by an earlier call. Raises `MissingDataError`, with everything still
    in place, when a copy is not whole.
    """
    if not names:
        return
    here, there = source.local_path, target.local_path
    if here is not None and there is not None:
        with writing_to(target):
            for name, new in names.items():
                _rename(here / name, there / new)
        _remove_empty_folders(here, names)
        return
    present = source.find(hidden=True)
    todo = {name: new for name, new in names.items() if name in present}
    copied = target.find(hidden=True)
    source.copy_files({name: new for name, new in todo.items() if not _same(present[name], copied.get(new))}, target)
    copied = target.find(hidden=True)
    for name, new in todo.items():
        if not _same(present[name], copied.get(new)):
            raise MissingDataError(f"{target / new}: not a whole copy of {source / name}; nothing was deleted")
    source.remove_files(todo)


def _same(original: Mapping[str, object], copy: Mapping[str, object] | None) -> bool:
    return copy is not None and copy["size"] == original["size"]


def _rename(path: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        shutil.move(path, new)


def _remove_empty_folders(folder: Path, names: Mapping[str, str]) -> None:
    """Remove the folders below `folder` that `names` lay in, where nothing is left in them."""
    emptied = {parent for name in names for parent in (folder / name).parents if folder in parent.parents}
    for path in sorted(emptied, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):
            path.rmdir()
