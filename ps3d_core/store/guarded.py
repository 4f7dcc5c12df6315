"""Stores as arrays are read through: only files are opened, and an absent chunk is zeros only where that is known.

Zarr delivers the fill value for every chunk that is not there, whatever the reason. Here it depends on who wrote the
array: this project writes every chunk, others may leave out empty ones, but hardly all of them.
"""

from __future__ import annotations

import os
import re
from io import FileIO
from stat import S_ISDIR, S_ISREG
from typing import Any, Final

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.array import AsyncArray
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, StorePath, WrapperStore

from ps3d_core.errors import AccessDeniedError, CorruptDataError, InputError, MissingDataError

REMAKE: Final = "restore it or make the array again"
EMPTIED: Final = (
    f"{REMAKE}; if zarr-python left it out because all of it is 0, write these zeros again with "
    'zarr.open_array(..., mode="r+").with_config({"write_empty_chunks": True})'
)
"""What helps where somebody may have corrected an image by hand."""
_FORM: Final = re.compile(r"c/(\d+/)*\d+|c\.(\d+\.)*\d+|(\d+/)*\d+|(\d+\.)*\d+")


class Reading(WrapperStore[Any]):
    """Store to read from, in which nothing but a file is opened where a file should be."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what lies at `key`; raise `CorruptDataError` when it is a folder, a pipe or a device."""
        self._require_file(key)
        try:
            return await super().get(key, prototype, byte_range)
        except AccessDeniedError:
            # Some web servers refuse what is not there. A chunk is never taken for absent because of that.
            if self.supports_listing or chunk_form(key) is not None:
                raise
            return None

    def _require_file(self, key: str) -> None:
        if not isinstance(self._store, LocalStore):
            return
        try:
            mode = os.stat(self._store.root / key).st_mode
        except (OSError, ValueError):
            return  # not there, or not ours to see: the store will say so
        if not S_ISREG(mode):
            what = "a folder" if S_ISDIR(mode) else "no file"
            raise CorruptDataError(f"{self.name}/{key}: {what} where a file should be; restore it")

    @property
    def name(self) -> str:
        """Path or URL of the store, as a person would write it."""
        return store_name(self._store)


class WebStore(FsspecStore):
    """Store on a web server, which does not say what it has."""

    supports_listing = False


class NothingImplied(Reading):
    """Store of an array of this project: an absent or empty chunk is an error, for which there is a `remedy`."""

    def __init__(self, store: Store, remedy: str) -> None:
        super().__init__(store)
        self._remedy = remedy

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what lies at `key`; raise `MissingDataError` for an absent chunk, `CorruptDataError` when empty."""
        value = await super().get(key, prototype, byte_range)
        if value is None and key.startswith("c/"):
            raise self._missing(key)
        if value is not None and not len(value) and key.startswith("c/"):
            raise self._empty(key)
        return value

    def open_file(self, key: str) -> FileIO:
        """Return the opened file at `key` of a store on a folder; errors are those of `get`."""
        self._require_file(key)
        try:
            file = FileIO(self._store.root / key)
        except FileNotFoundError as error:
            raise self._missing(key) from error
        if not os.fstat(file.fileno()).st_size:
            file.close()
            raise self._empty(key)
        return file

    def _missing(self, key: str) -> MissingDataError:
        return MissingDataError(f"{self.name}/{key}: this chunk is missing; {self._remedy}")

    def _empty(self, key: str) -> CorruptDataError:
        return CorruptDataError(f"{self.name}/{key}: this chunk is empty; {REMAKE}")


class SomethingThere(Reading):
    """Store of an array of others: an absent chunk is the fill value if there are others, else an error.

    Where a store lists nothing, absent chunks are remembered, to be told of; see `presence.py`.
    """

    def __init__(self, store: Store, form: str) -> None:
        super().__init__(store)
        self._form = form
        self._seen = False
        self.absent: set[str] = set()
        """Chunks that were asked for and are not there, where the store lists nothing."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what lies at `key`; raise `InputError` for a chunk that is not there where no other is."""
        value = await super().get(key, prototype, byte_range)
        if value is None and chunk_form(key) == self._form:
            if not self.supports_listing:
                self.absent.add(key)
            elif not self._seen:
                await self._require_some()
        return value

    async def _require_some(self) -> None:
        others = set()
        async for key in self.list():
            form = chunk_form(key)
            if form == self._form:
                self._seen = True
                return
            if form is not None and form.count("0") == self._form.count("0"):
                others.add(form)
        raise all_absent(self.name, self._form, others)


def all_absent(name: str, form: str, others: set[str]) -> InputError:
    """Return the error for an array that has no chunk of its `form`, where chunks of the forms `others` may lie."""
    if not others:
        return InputError(f"{name}: not one of its chunks is there; copy them too, or write the array again")
    other = min(others)
    separator = "/" if "/" in other else "."
    return InputError(
        f"{name}: chunks lie there like {other}, but the metadata say {form}; correct them (dimension_separator of "
        f'.zarray, chunk_key_encoding of zarr.json; the separator is "{separator}")'
    )


def chunk_form(key: str) -> str | None:
    """Return the name `key` of a chunk with zeros for its indices: "0.0.0", "c/0/0/0"; None for no chunk's name."""
    return re.sub(r"\d+", "0", key) if _FORM.fullmatch(key) else None


def form_of(array: zarr.Array[Any]) -> str:
    """Return how the chunks of this array are named, with zeros for their indices, see `chunk_form`."""
    return array.metadata.encode_chunk_key((0,) * array.metadata.ndim)


def read_through(array: zarr.Array[Any], store: Store) -> zarr.Array[Any]:
    """Return the opened `array` as read through another `store`."""
    inner = array._async_array
    path = StorePath(store, inner.store_path.path)
    return zarr.Array(AsyncArray(metadata=inner.metadata, store_path=path, config=inner.config))


def store_name(store: Store) -> str:
    """Return the path or URL of a store, as a person would write it."""
    if isinstance(store, WrapperStore):
        return store_name(store._store)
    if not isinstance(store, FsspecStore):
        return str(store).removeprefix("file://")
    if "://" in store.path:
        return store.path
    protocol = getattr(store.fs, "sync_fs", store.fs).protocol
    scheme = protocol if isinstance(protocol, str) else protocol[0]
    return f"{scheme}://{store.path.strip('/')}"
