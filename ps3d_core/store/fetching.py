"""A folder of a store copied to this machine: file by file, each whole or not at all, those that are there already not.

What tells that a file is there is its size and the time of its last change, which a copy gets from the original.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.store.location import Location, writing_to

AT_ONCE: Final = 8
_BLOCK: Final = 2**22


def fetch_folder(source: Location, folder: Path, *, without: Collection[str] = (), progress: Progress = SILENT) -> int:
    """Copy all files below `source` to `folder`; return how many were copied now.

    Args:
        source: folder or URL.
        folder: made when it is not there; other files in it stay.
        without: names of folders directly below `source` that are left out.
        progress: told bytes.

    Raises:
        MissingDataError: nothing lies at `source`.
        InputError: a file lies where a folder is needed.

    """
    found = {name: info for name, info in source.find(hidden=True).items() if name.partition("/")[0] not in without}
    if not found:
        raise MissingDataError(f"{source}: nothing there; check the name")
    sizes = {name: int(info["size"]) for name, info in found.items()}
    times = {name: _time(info) for name, info in found.items()}
    todo = [name for name in found if not _is_there(folder / _safe(name), sizes[name], times[name])]
    total = sum(sizes.values())
    with (
        progress.stage("fetch", total, "bytes", already=total - sum(sizes[name] for name in todo)) as stage,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        list(threads.map(lambda name: _fetch(source / name, folder / _safe(name), times[name], stage), todo))
    return len(todo)


def _fetch(source: Location, path: Path, time: float, stage: Stage) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with writing_to(Location(path.as_posix())):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open_streaming() as reading, temporary.open("wb") as writing:
                while block := reading.read(_BLOCK):
                    writing.write(block)
                    stage.advance(len(block))
            os.utime(temporary, (time, time))
            temporary.replace(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); give another folder") from error
        finally:
            temporary.unlink(missing_ok=True)


def _is_there(path: Path, size: int, time: float) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return found.st_size == size and abs(found.st_mtime - time) < 1


def _time(info: dict[str, object]) -> float:
    changed = info.get("LastModified") or info.get("mtime") or info.get("created") or 0.0
    return float(changed.timestamp() if hasattr(changed, "timestamp") else changed)  # type: ignore[arg-type]


def _safe(name: str) -> str:
    """The name, which leads to a file below the folder. Raises `InputError` for one that does not."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InputError(f"{name!r}: leads out of the folder; not copied, rename that object")
    return name
