"""Plain files on any store, opened for reading in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.store.location import Location


def open_to_read(location: Location) -> BinaryIO:
    """Return the file at `location` opened for reading, seekable; only what is read travels.

    Raise `InputError` when there is none, or no plain one, or it may not be read.
    """
    try:
        if (path := location.local_path) is not None:
            location.require_plain()
            return path.open("rb")
        return location.open_reading()
    except (FileNotFoundError, MissingDataError) as error:
        raise InputError(f"{location}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise InputError(f"{location}: a folder where a file is expected; move it elsewhere or rename it") from error
    except PermissionError as error:
        raise InputError(f"{location}: may not be read; ask for the permission or copy the file") from error


def require_inside(file: Location, header: Location) -> None:
    """Raise `InputError` when a file that `header` names is a symbolic link out of the folder of the header.

    A header comes from strangers, and a link that came along may lead to anything. Where the header itself is a link,
    the file may lie in the folder that this one leads to.
    """
    if (path := file.local_path) is None or (of_header := header.local_path) is None or not path.is_symlink():
        return
    if not any(is_below(path, folder) for folder in (of_header.parent, of_header.resolve().parent)):
        raise InputError(f"{file}: a link out of the folder of {header.name}; copy what it leads to in its place")


def is_below(path: Path, folder: Path) -> bool:
    """Return whether a path is in a folder also when all symbolic links are followed. Raise nothing."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def size_of(file: BinaryIO) -> int:
    """Return the number of bytes in an open seekable file; the position is kept."""
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return end


def fill_from(file: BinaryIO, values: npt.NDArray[Any]) -> bool:
    """Read the whole C-contiguous array from the file's position; return False when the file ends before."""
    view = values.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        piece = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not piece:
            return False
        done += piece
    return True
