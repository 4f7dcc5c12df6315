"""A Zarr inside of a ZIP archive, to read only: of each chunk only its bytes are read.

Nothing is unpacked to files, so names that lead out of a folder lead nowhere. What an entry unpacks to is bounded; an
archive of which two programs could see different Zarrs (two entries of one name) is refused.
"""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from struct import error as StructError
from threading import Lock
from typing import BinaryIO, Final

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.store.location import Location

METADATA: Final = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})
_TOPS: Final = frozenset({"zarr.json", ".zarray", ".zgroup"})
MOST_METADATA: Final = 2**26
"""Bytes of one file of metadata."""
MOST_UNPACKED: Final = 2**30
"""Bytes that a compressed entry unpacks to; others are as long as they lie there."""
MOST_DIRECTORY: Final = 2**26
"""Bytes of the list of all entries, which is read as a whole: more than half a million of them."""
_UNREADABLE: Final = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, StructError)
_END, _END_64 = b"PK\5\6", b"PK\6\6"
_SMALL: Final = Struct("<I")
_LARGE: Final = Struct("<Q")
_LENGTHS: Final = Struct("<HH")
_LOCAL_HEADER: Final = 30
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_JUNK: Final = "__MACOSX"


class Archive:
    """An open ZIP archive, its entries by their names. Raise `InputError` for one that is not read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file, self._lock = file, Lock()
        try:
            _require_short_directory(file, name)
            self._zip = zipfile.ZipFile(file)
        except (*_UNREADABLE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a position before the beginning
                raise
            raise InputError(f"{name}: no ZIP archive, or one that was cut off ({error}); copy it again") from error
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            if not entry.filename.endswith("/"):
                self._add(entry)

    def _add(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename
        if entry.header_offset < 0:
            raise InputError(f"{self.name}: cut off at its beginning; copy it again")
        if name in self.entries:
            raise InputError(f"{self.name}: two entries called {name[:80]!r}; pack the Zarr again")
        if entry.flag_bits & 1:
            raise InputError(f"{self.name}: entry {name[:80]!r} is encrypted; pack the Zarr without a password")
        if entry.compress_type not in _METHODS:
            raise InputError(
                f"{self.name}: entry {name[:80]!r} is packed by method {entry.compress_type}; must be stored or "
                "deflated; pack the Zarr again (zip -0 -r), or give it as a folder"
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(f"{self.name}: entry {name[:80]!r} is a link; pack the Zarr again with what it leads to")
        limit = MOST_METADATA if name.rpartition("/")[2] in METADATA else MOST_UNPACKED
        if entry.compress_type != zipfile.ZIP_STORED and entry.file_size > limit:
            raise InputError(
                f"{self.name}: entry {name[:80]!r} unpacks to {entry.file_size} bytes; the limit is {limit}; give the "
                "Zarr as a folder"
            )
        self.entries[name] = entry

    @property
    def root(self) -> PackedLocation:
        """Where the Zarr begins: at the top, or in the only folder there. Raise `InputError` where there is none."""
        tops = {name.partition("/")[0] for name in self.entries if "/" in name} - {_JUNK}
        for folder in ("", *(tops if len(tops) == 1 else ())):
            if any(f"{folder}/{name}".lstrip("/") in self.entries for name in _TOPS):
                return PackedLocation(self.name, self, folder, folder)
        raise InputError(f"{self.name}: no Zarr at its top, nor in a single folder there; pack the folder of one Zarr")

    def read(self, name: str, wanted: ByteRequest | None = None) -> bytes | None:
        """Return what the entry holds, or a part of it; None when there is no such entry.

        Raise `CorruptDataError` when it cannot be unpacked or its checksum does not match.
        """
        if (entry := self.entries.get(name)) is None:
            return None
        start, stop = _span(wanted, entry.file_size)
        with self._lock:
            try:
                if wanted is not None and entry.compress_type == zipfile.ZIP_STORED:
                    return self._part(entry, start, stop)
                return self._zip.read(entry)[start:stop]
            except (*_UNREADABLE, RuntimeError, zlib.error) as error:
                raise CorruptDataError(
                    f"{self.name}:/{name}: cannot be unpacked ({error}); copy the file again"
                ) from error

    def _part(self, entry: zipfile.ZipInfo, start: int, stop: int) -> bytes:
        """Bytes of an entry that lies there as it is, without reading what is before them."""
        with self._zip.open(entry):  # which looks at the header that lies before them
            self._file.seek(entry.header_offset + _LOCAL_HEADER - _LENGTHS.size)
        at = entry.header_offset + _LOCAL_HEADER + sum(_LENGTHS.unpack(self._file.read(_LENGTHS.size)))
        self._file.seek(at + start)
        data = self._file.read(stop - start)
        if len(data) < stop - start:
            raise EOFError("it was cut off")
        return data


@dataclass(frozen=True, slots=True, order=True)
class PackedLocation(Location):
    """A place in the Zarr of an open archive, with the few methods of a `Location` that reading takes."""

    archive: Archive = field(compare=False, repr=False)
    top: str
    """Folder of the archive in which the Zarr begins; empty when that is its top."""
    path: str
    """Path of the place in the archive."""

    def __truediv__(self, name: str) -> PackedLocation:
        path = "/".join(filter(None, (self.path, name)))
        inside = path.removeprefix(self.top).lstrip("/")
        return PackedLocation(f"{self.archive.name}:/{inside}", self.archive, self.top, path)

    @property
    def parent(self) -> PackedLocation:
        """Folder that this place lies in; the beginning of the Zarr is its own."""
        above = "" if self.path == self.top else self.path.rpartition("/")[0].removeprefix(self.top).lstrip("/")
        root = PackedLocation(self.archive.name, self.archive, self.top, self.top)
        return root / above if above else root

    @property
    def local_path(self) -> Path | None:
        """None: this is no path of the system."""
        return None

    @property
    def scheme(self) -> str:
        """Of no other store."""
        return "zip"

    def exists(self) -> bool:
        """Return whether there is an entry of this name, or one below it."""
        return self.path in self.archive.entries or self.is_dir()

    def is_dir(self) -> bool:
        """Return whether there are entries below this name."""
        return any(name.startswith(self._below) for name in self.archive.entries)

    def children(self) -> list[str]:
        """Return the names directly below this one, sorted."""
        below = self._below
        return sorted({name[len(below) :].partition("/")[0] for name in self.archive.entries if name.startswith(below)})

    def read_start(self, count: int) -> bytes:
        """Return the first `count` bytes of an entry, or all. Raise `MissingDataError` when it is not there."""
        data = self.archive.read(self.path, RangeByteRequest(0, count))
        if data is None:
            raise MissingDataError(f"{self}: no such entry; check the path")
        return data

    def zarr_store(self, *, read_only: bool = False) -> Store:
        """Return a Zarr store rooted here, which is never written to."""
        return ZippedStore(self)

    @property
    def _below(self) -> str:
        return f"{self.path}/" if self.path else ""


class ZippedStore(Store):
    """Entries of an open archive, below a place in it, as a Zarr store to read from."""

    supports_writes = supports_deletes = supports_partial_writes = False
    supports_listing = True

    def __init__(self, place: PackedLocation) -> None:
        super().__init__(read_only=True)
        self._place = place
        self._is_open = True

    def __str__(self) -> str:
        return self._place.url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZippedStore) and self._place == other._place

    __hash__ = None  # type: ignore[assignment]

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what lies at `key`, or a part of it; None when there is nothing."""
        data = self._place.archive.read(self._place._below + key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return what `get` returns of each."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether there is an entry at `key`."""
        return self._place._below + key in self._place.archive.entries

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        below = self._place._below
        for name in self._place.archive.entries:
            if name.startswith(below):
                yield name[len(below) :]

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin so."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below `prefix`."""
        for name in (self._place / prefix if prefix else self._place).children():
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Raise `ValueError`."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Raise `ValueError`."""
        self._check_writable()


def _span(wanted: ByteRequest | None, size: int) -> tuple[int, int]:
    match wanted:
        case RangeByteRequest(start, stop):
            return min(start, size), min(stop, size)
        case OffsetByteRequest(start):
            return min(start, size), size
        case SuffixByteRequest(count):
            return max(0, size - count), size
    return 0, size


def _require_short_directory(file: BinaryIO, name: str) -> None:
    """Raise `InputError` when the list of entries is too long to be read; what is no archive is for others to say."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**16 - 22))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        return
    (length,) = _SMALL.unpack_from(tail, at + 12)
    if (before := tail.rfind(_END_64, 0, at)) >= 0 and len(tail) >= before + 56:
        (length,) = _LARGE.unpack_from(tail, before + 40)
    if min(length, size) > MOST_DIRECTORY:
        raise InputError(
            f"{name}: a list of entries of {length} bytes; the limit is {MOST_DIRECTORY}; unpack the archive and give "
            "the Zarr as a folder, or write it again in shards"
        )
