"""HDF5 files, opened for reading, in which no link is followed that leads out of the folder.

An HDF5 file may name others: by external links, as sources of virtual datasets, as raw storage. Files are data from
strangers, and a name like /etc/passwd is as good as any to the library. So it is never given a path of several parts:
links are followed here one by one, and files are opened here only where they lie in the folder of the first, or below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from ps3d_core.errors import InputError
from ps3d_core.scan.files import is_below, open_to_read
from ps3d_core.scan.hdf5_heaps import require_sound_heaps
from ps3d_core.store.location import Location

DAMAGED: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What a damaged file makes the library raise."""
_HDF4: Final = b"\x0e\x03\x13\x01"
_MOST_LINKS: Final = 32
"""Soft and external links that are followed for one path."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object (h5py's `Dataset` or `Group`), its path and the file that it lies in."""

    item: Any
    path: str
    file: Location


class Hdf5Files:
    """An open HDF5 file and those that its links lead to. Close it, or use it in a `with` statement.

    Raise `InputError` when it is none, is damaged, or cannot be read.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._open: dict[Location, Any] = {}
        self._streams: list[BinaryIO] = []
        self.beside: set[Location] = set()
        """Other files that are read along."""
        self.unreached: list[InputError] = []
        """Why links could not be followed that were met in search of something else."""
        try:
            self.root = self._root(location)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Hdf5Files:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for file in (*self._open.values(), *self._streams):
            file.close()
        self._open, self._streams = {}, []

    def find(self, path: str, start: Found | None = None, links: int = _MOST_LINKS) -> Found | None:
        """Return what is at `path`, from the root or from the group `start`; None when there is nothing.

        Raise `InputError` for a link that leads out of the folder.
        """
        here = self.root if start is None else start
        if path.startswith("/"):
            here = self._root(here.file)
        for name in PurePosixPath(path.lstrip("/")).parts:
            there = self._child(here, name, links)
            if there is None:
                return None
            here = there
        return here

    def _child(self, group: Found, name: str, links: int) -> Found | None:
        import h5py

        with reading(str(group.file)):
            link = group.item.get(name, getlink=True) if isinstance(group.item, h5py.Group) else None
            path = f"{group.path.rstrip('/')}/{name}"
            if isinstance(link, h5py.HardLink):
                return Found(group.item[name], path, group.file)
            if link is None or not links:
                return None
        if isinstance(link, h5py.SoftLink):
            there = self.find(link.path, group, links - 1)
        else:
            other = beside(link.filename, group.file, f"{group.file}: external link {path}")
            self.beside.add(other)
            there = self.find(link.path, self._root(other), links - 1)
        return there and Found(there.item, path, there.file)

    def _root(self, location: Location) -> Found:
        with _refusing(location):
            if location not in self._open:
                self._open[location] = self._open_one(location)
            return Found(self._open[location]["/"], "/", location)

    def _open_one(self, location: Location) -> Any:
        import h5py

        with open_to_read(location) as stream:
            if stream.read(len(_HDF4)) == _HDF4:
                raise InputError(f"{location}: an HDF4 file, which is another format; convert it with h4toh5")
            require_sound_heaps(stream, str(location), is_local=location.local_path is not None)
        if location.local_path is not None:
            # Locks are of no use to who only reads, and file systems of clusters may lack them.
            return h5py.File(location.local_path, "r", locking=False)
        self._streams.append(open_to_read(location))
        return h5py.File(self._streams[-1], "r")


def beside(name: str, file: Location, what: str) -> Location:
    """Return the place of a file that `file` names: in its folder or below it.

    A name with an absolute path elsewhere, as of another computer, stands for a file of this name in the folder.
    `what` begins messages. Raise `InputError` when it is not there, or is outside.
    """
    if file.local_path is None:
        raise InputError(f"{what} names another file, {name!r}; which is read from folders only; copy it to one")
    folder = file.local_path.parent
    parts = PurePosixPath(name)
    path = folder / parts
    if parts.is_absolute() and not is_below(path, folder):
        path = folder / parts.name
    if ".." in parts.parts or "\0" in name or not is_below(path, folder):
        raise InputError(f"{what} leads out of the folder, to {name!r}; copy that file beside this one and link it so")
    if not path.is_file():
        raise InputError(f"{what} names {name!r}, which is not there; put it into {folder}")
    return Location(str(path))


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise `InputError` for whatever a damaged file `name` makes the library raise in the block."""
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{name}: damaged or not readable ({_reason(error)}); restore the file") from error


@contextmanager
def _refusing(location: Location) -> Iterator[None]:
    with reading(str(location)):
        try:
            yield
        except OSError as error:
            if isinstance(error, InputError):
                raise
            text = str(error)
            if "signature not found" in text:
                raise InputError(f"{location}: not an HDF5 file; restore it or convert the scan") from error
            if "truncated" in text:
                raise InputError(f"{location}: truncated ({_reason(error)}); restore the file") from error
            if "already open for write" in text or "consistency flags" in text:
                raise InputError(
                    f"{location}: still being written, or was not closed; wait for that program, or run h5clear -s "
                    "on a copy"
                ) from error
            raise


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
