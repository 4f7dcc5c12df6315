"""What a piece of work writes, noted while it writes it: no stage has to say it, and nothing is read back.

Notes follow the context: threads that a piece of work starts itself are not noted, Zarr's are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from ps3d_core.store.digest import Digest

Written = dict[str, Digest]
"""By URL, what was written there."""

_noted: ContextVar[Written | None] = ContextVar("noted", default=None)
_replacing: ContextVar[bool] = ContextVar("replacing", default=False)


@contextmanager
def noting_writes() -> Iterator[Written]:
    """Within it, what is written through `Location` and its Zarr stores is noted in what it yields."""
    written: Written = {}
    token = _noted.set(written)
    try:
        yield written
    finally:
        _noted.reset(token)


def note_write(url: str, data: Any) -> None:
    """Say that `data`, bytes or a buffer of them, is what lies at `url` now."""
    if (written := _noted.get()) is not None:
        written[url] = Digest.of_content(data)


def note_written(others: Written) -> None:
    """Say what others wrote for the piece of work that is being done: its threads, or an earlier attempt at it."""
    if (written := _noted.get()) is not None:
        written.update(others)


@contextmanager
def replacing_chunks() -> Iterator[None]:
    """Within it, what a chunk held before is not looked at: Zarr would merge a shard at the end of an array with it."""
    token = _replacing.set(True)
    try:
        yield
    finally:
        _replacing.reset(token)


class NotingStore(WrapperStore[Any]):
    """A Zarr store at `url` that notes what is written to it."""

    def __init__(self, store: Store, url: str) -> None:
        super().__init__(store)
        self._url = url

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        await super().set(key, value)
        note_write(f"{self._url}/{key}", value.as_numpy_array())

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object, or a part of it."""
        if _replacing.get() and is_chunk(key):
            return None
        return await super().get(key, prototype, byte_range)

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._url)


def is_chunk(key: str) -> bool:
    """Whether an object of a Zarr store is a chunk, or a shard of them."""
    return key.startswith("c/") or "/c/" in key
