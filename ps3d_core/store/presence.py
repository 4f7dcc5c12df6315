"""Which chunks of an array are not there, looked up once before long work, from names and indices alone.

An array of others may lack chunks, but not all; what it lacks is said. An array of this project has every shard, or
one was lost. Inside its shards a chunk is never absent, unless another program wrote the shard again and left out what
is empty: the shard's index says so.
"""

from __future__ import annotations

from asyncio import Semaphore, gather
from collections.abc import Mapping
from itertools import islice
from math import ceil, prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.store.arrays import array_name, is_ours, object_shape
from ps3d_core.store.guarded import EMPTIED, all_absent, chunk_form, form_of
from ps3d_core.store.volume import Volume, stored_array

AT_ONCE: Final = 32
"""Indices of shards that are asked for at the same time."""
PROBES: Final = 64
"""Chunks that are looked for where a store lists nothing."""
_ABSENT: Final = np.iinfo(np.uint64).max

Index = tuple[int, ...]


def absences(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return notes about absent chunks of an array that was opened for reading; empty when all are there.

    Raise `InputError` when not one chunk is there, or when they are others than the metadata say; `MissingDataError`
    when one is lost that this project wrote.
    """
    volume, array = array, stored_array(array)
    grid = tuple(ceil(n / side) for n, side in zip(array.shape, array.shards or array.chunks, strict=True))
    if not array.store_path.store.supports_listing:
        return sync(_of_unlisted(array, grid, _fixed_chunks(volume)))
    if not is_ours(array):
        return sync(_absent_of_others(array, grid, _fixed_chunks(volume)))
    present = sync(_present(array, grid))
    if len(present) < prod(grid):
        lost = next(index for index in np.ndindex(grid) if index not in present)
        key = array.metadata.encode_chunk_key(lost)
        raise MissingDataError(f"{array_name(array)}/{key}: this chunk is missing; {EMPTIED}")
    left_out = sync(_left_out(array, grid))
    if not left_out:
        return ()
    total = prod(ceil(n / side) for n, side in zip(array.shape, array.chunks, strict=True))
    return (f"another program wrote here: it left out {left_out} of {total} chunks, which are read as 0",)


def absent_when_read(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return a note on chunks that turned out to be absent while an array was read; empty where none did.

    For arrays on stores that list nothing; of others `absences` knows before.
    """
    array = stored_array(array)
    absent = getattr(array.store_path.store, "absent", ())
    return (f"{len(absent)} chunks are absent and were read as {_filling(array)}",) if absent else ()


def _filling(array: zarr.Array[Any]) -> Any:
    return 0 if array.fill_value is None else array.fill_value


async def _of_unlisted(array: zarr.Array[Any], grid: Index, fixed: Mapping[int, int]) -> tuple[str, ...]:
    """Look for some chunks, from the first to the last of those that are read, until one is there."""
    sides = tuple(1 if axis in fixed else n for axis, n in enumerate(grid))
    total = prod(sides)
    for number in range(min(total, PROBES)):
        place = np.unravel_index(number * max(1, total - 1) // max(1, min(total, PROBES) - 1), sides)
        index = tuple(fixed.get(axis, int(at)) for axis, at in enumerate(place))
        if await array.store_path.store.exists(array.metadata.encode_chunk_key(index)):
            return ()
    raise InputError(
        f"{array_name(array)}: not one of {min(total, PROBES)} chunks is there that were asked for, of {total}; check "
        "its address, or copy it to a folder"
    )


def _fixed_chunks(array: zarr.Array[Any]) -> dict[int, int]:
    """Along which axes only one layer of chunks is read, and which: those of the channel and the point in time."""
    if not isinstance(array, Volume):
        return {}
    sides = array.stored.shards or array.stored.chunks
    return {axis: place // sides[axis] for axis, place in array.fixed.items()}


async def _absent_of_others(array: zarr.Array[Any], grid: Index, fixed: Mapping[int, int]) -> tuple[str, ...]:
    form, others = form_of(array), set()
    there = beyond = 0
    total = prod(n for axis, n in enumerate(grid) if axis not in fixed)
    async for key in array.store_path.store.list():
        found = chunk_form(key)
        if found == form:
            within = _is_within(index := _index(key), grid)
            there += within and all(index[axis] == at for axis, at in fixed.items())
            beyond += not within
        elif found is not None and found.count("0") == len(grid):
            others.add(found)
    if not there:
        raise all_absent(array_name(array), form, others)
    if there < total and beyond:
        raise InputError(
            f"{array_name(array)}: {total - there} of {total} chunks are absent while {beyond} lie beyond "
            f"its shape, {array.shape}: its chunks are not of {array.chunks} voxels, or its shape is another; correct "
            "the metadata, or remove those beyond if they are left over"
        )
    value = _filling(array)
    notes = []
    if there < total:
        notes.append(f"{total - there} of {total} chunks are absent and read as {value}")
    if beyond:
        notes.append(f"{beyond} chunks lie beyond its shape, {array.shape}, and are not read")
    return tuple(notes)


async def _present(array: zarr.Array[Any], grid: Index) -> set[Index]:
    form = form_of(array)
    keys = [key async for key in array.store_path.store.list() if chunk_form(key) == form]
    return {index for key in keys if _is_within(index := _index(key), grid)}


async def _left_out(array: zarr.Array[Any], grid: Index) -> int:
    """Chunks that the indices of our shards say are absent."""
    shards, chunks = object_shape(array), array.chunks
    inside = tuple(s // c for s, c in zip(shards, chunks, strict=True))
    size = 16 * prod(inside) + 4
    turn = Semaphore(AT_ONCE)

    async def left_out(shard: Index) -> int:
        async with turn:
            key = array.metadata.encode_chunk_key(shard)
            data = await array.store_path.store.get(key, default_buffer_prototype(), SuffixByteRequest(size))
        index = _shard_index(None if data is None else data.to_bytes(), inside)
        if index is None:
            return 0  # damaged: reading will say so
        # The last shards reach beyond the array.
        ends = (ceil((n - at * s) / c) for n, at, s, c in zip(array.shape, shard, shards, chunks, strict=True))
        within = index[tuple(slice(0, end) for end in ends)]
        return int((within == _ABSENT).all(axis=-1).sum())

    total, places = 0, iter(np.ndindex(grid))
    while some := list(islice(places, 64 * AT_ONCE)):
        for count in await gather(*map(left_out, some), return_exceptions=True):  # not before all have ended
            if isinstance(count, BaseException):
                raise count
            total += count
    return total


def _shard_index(data: bytes | None, inside: Index) -> npt.NDArray[np.uint64] | None:
    """Where the chunks of a shard lie in it, (*inside, 2); None for what is no index."""
    if data is None or len(data) != 16 * prod(inside) + 4:
        return None
    return np.frombuffer(data, "<u8", 2 * prod(inside)).reshape(*inside, 2)


def _index(key: str) -> Index:
    return tuple(int(part) for part in key.removeprefix("c").strip("/.").replace("/", ".").split("."))


def _is_within(index: Index, grid: Index) -> bool:
    return all(i < n for i, n in zip(index, grid, strict=True))
