"""Zarr stores that note what is written to them, see `written`."""

from __future__ import annotations

from typing import Any, Self

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from ps3d_core.store.written import chunks_are_replaced, note_write


class NotingStore(WrapperStore[Any]):
    """A Zarr store at `url` that notes what is written to it."""

    def __init__(self, store: Store, url: str) -> None:
        super().__init__(store)
        self._url = url

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object, and note it."""
        await super().set(key, value)
        note_write(f"{self._url}/{key}", value.as_numpy_array())

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object, or a part of it; None when absent, and for a chunk while `replacing_chunks` is in force."""
        if chunks_are_replaced() and is_chunk(key):
            return None
        return await super().get(key, prototype, byte_range)

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._url)


def is_chunk(key: str) -> bool:
    """Return whether the object at `key` of a Zarr store is a chunk, or a shard of them."""
    return key.startswith("c/") or "/c/" in key
