"""Zarr v3 arrays as this project stores them: sharded, checksummed, nothing implied.

Chunks (what is read) lie in shards (what is written, one object each); only intermediates have none, and larger
chunks. Every chunk ends in a CRC32C. Chunks of zeros are written too, so an object that is not there is an error and
never silent background. Shards are written whole by one writer: concurrent partial writes to one shard lose data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from json import JSONDecodeError
from math import ceil
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.buffer.cpu import NDBuffer
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArrayConfigLike
from zarr.core.buffer import Buffer
from zarr.errors import ArrayNotFoundError, NodeNotFoundError, NodeTypeValidationError
from zarr.storage import MemoryStore

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError, Ps3dError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store import codec_pipeline  # noqa: F401  # bounds what chunks unpack to, in every process that reads arrays
from ps3d_core.store.direct import direct
from ps3d_core.store.guarded import REMAKE, NothingImplied, Reading, SomethingThere, form_of, read_through, store_name
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.screening import require_usable
from ps3d_core.store.written import replacing_chunks

AXES = ("z", "y", "x")
CHUNK = 64
SHARD = 128
ARRAY_FILE: Final = "zarr.json"
READS = 3  # of a box before it counts as damaged

UNUSABLE: Final = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    NotImplementedError,
)
"""What Zarr raises for metadata that it cannot make sense of."""

_WRITE_ALL: ArrayConfigLike = {"write_empty_chunks": True}


def chunk_shape(shape: Shape) -> Shape:
    """Return the chunk shape (z, y, x) of an array of `shape`: 64 voxels a side, less where the array is thinner."""
    z, y, x = (min(CHUNK, n) for n in shape)
    return z, y, x


def shard_shape(shape: Shape) -> Shape:
    """Return the shard shape (z, y, x) of an array of `shape`: whole chunks, at most 128 voxels a side.

    It has no more chunks along an axis than the array.
    """
    z, y, x = (min(SHARD, c * ceil(n / c)) for n, c in zip(shape, chunk_shape(shape), strict=True))
    return z, y, x


def object_shape(array: zarr.Array[Any]) -> Shape:
    """Return the shape (z, y, x) in voxels of one object of the store: a shard, or a chunk without shards."""
    return cast(Shape, array.shards or array.chunks)


def create_array(
    location: Location,
    shape: Shape,
    dtype: npt.DTypeLike,
    *,
    chunks: Shape | None = None,
    shards: Shape | None = None,
    sharded: bool = True,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array[Any]:
    """Create an empty array at `location`, axes (z, y, x), which has its `attributes` from the first moment.

    `chunks` and `shards` default to `chunk_shape` and `shard_shape`; shards must be whole multiples of chunks. Without
    `sharded`, every chunk is an object of its own.
    """
    with writing_to(location):
        return _create(location.zarr_store(), shape, dtype, chunks, shards, sharded, overwrite, attributes)


def ensure_array(
    location: Location,
    shape: Shape,
    dtype: npt.DTypeLike,
    *,
    chunks: Shape | None = None,
    shards: Shape | None = None,
    sharded: bool = True,
    attributes: Mapping[str, Any] | None = None,
) -> bool:
    """Make the array that `create_array` would make unless it is there; return whether it was made, and is empty.

    An array at `location` whose metadata, attributes aside, are anything else, damaged for instance, is removed with
    all its chunks.
    """
    model: dict[str, Buffer] = {}
    _create(MemoryStore(model), shape, dtype, chunks, shards, sharded)
    with suppress(MissingDataError):
        if _but_attributes((location / ARRAY_FILE).read_bytes()) == _but_attributes(model[ARRAY_FILE].to_bytes()):
            return False
    location.remove_tree()
    create_array(location, shape, dtype, chunks=chunks, shards=shards, sharded=sharded, attributes=attributes)
    return True


def _create(
    store: Store,
    shape: Shape,
    dtype: npt.DTypeLike,
    chunks: Shape | None,
    shards: Shape | None,
    sharded: bool,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array[Any]:
    chunks = chunks or chunk_shape(shape)
    if sharded:
        shards = shards or shard_shape(shape)
        if any(s % c for s, c in zip(shards, chunks, strict=True)):
            raise InputError(f"shards {shards}: must be multiples of the chunks {chunks}; change one of them")
    return zarr.create_array(
        store,
        shape=shape,
        dtype=np.dtype(dtype),
        chunks=chunks,
        shards=shards,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        fill_value=0,
        dimension_names=AXES,
        config=_WRITE_ALL,
        overwrite=overwrite,
        attributes=dict(attributes or {}),
    )


def _but_attributes(text: bytes) -> dict[str, Any] | None:
    """Metadata of an array without its attributes; None when damaged."""
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("attributes", {}), dict):
        return None
    return {key: value for key, value in metadata.items() if key != "attributes"}


def open_array(location: Location, *, writable: bool = False) -> zarr.Array[Any]:
    """Open an existing array, v2 or v3. A v3 array opened for reading raises `MissingDataError` on absent chunks.

    Raise `MissingDataError` when no array is there, `InputError` when it is a group or can be none that is read here,
    `CorruptDataError` when its metadata are damaged.
    """
    store = location.zarr_store(read_only=not writable)
    try:
        array = zarr.open_array(store if writable else Reading(store), mode="r+" if writable else "r")
    except (ArrayNotFoundError, NodeNotFoundError, FileNotFoundError) as error:
        raise MissingDataError(f"{location}: no Zarr array here; check the path") from error
    except NodeTypeValidationError as error:
        raise InputError(f"{location}: a Zarr group where an array is expected; give an array") from error
    except UNUSABLE as error:
        raise CorruptDataError(
            f"{location}: metadata of the array cannot be used ({what_is_wrong(error)}); restore it or make the array "
            "again"
        ) from error
    if not writable:
        return to_read(array, location, complete=array.metadata.zarr_format == 3)
    # Writing empty chunks is a property of the opened array, not of the stored one: it must be said every time.
    return array.with_config(_WRITE_ALL)


def to_read(array: zarr.Array[Any], location: Location, *, complete: bool, remedy: str = REMAKE) -> zarr.Array[Any]:
    """Return the opened `array`, of which all chunks must be there (`complete`) or at least some, see `guarded.py`.

    `remedy` is what helps when one of all is absent. Raise `InputError` when type, codecs or sizes are none that are
    read.
    """
    require_usable(array, str(location))
    store = location.zarr_store(read_only=True)
    return read_through(array, NothingImplied(store, remedy) if complete else SomethingThere(store, form_of(array)))


def is_ours(array: zarr.Array[Any]) -> bool:
    """Return whether this project wrote the array: its chunks lie in shards and end in a checksum.

    This mark survives copying.
    """
    if array.metadata.zarr_format == 2 or array.shards is None:
        return False
    return any(isinstance(codec, Crc32cCodec) for codec in array.compressors)


def read_box(array: zarr.Array[Any], box: Box, into: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """Return the voxels of `box`, C-contiguous and in native byte order, or in `into` (same shape and dtype).

    Checksums are verified on the way. What cannot be decoded is read again: it may have been damaged on its way, not
    where it lies. Raise `CorruptDataError` when that does not help.
    """
    for attempt in range(1, READS + 1):
        try:
            if (ours := direct(array)) is not None:
                values = np.empty(box.shape, array.dtype) if into is None else into
                ours.read(box, values)
                return values
            if into is None:  # foreign arrays may be stored in Fortran order, or the other byte order
                return np.ascontiguousarray(array[box.slices], dtype=array.dtype.newbyteorder("="))
            array.get_basic_selection(box.slices, out=NDBuffer.from_numpy_array(into))
            return into
        except Ps3dError:
            raise
        except (ValueError, RuntimeError) as error:
            if attempt == READS:
                raise CorruptDataError(
                    f"{array_name(array)} {box}: a chunk cannot be decoded ({error}); restore it or make the array "
                    "again"
                ) from error
    raise AssertionError("READS is at least 1")


def write_box(array: zarr.Array[Any], box: Box, data: npt.NDArray[Any]) -> None:
    """Write `data` over `box`, which must cover whole shards (or end at the array's faces)."""
    shard = object_shape(array)
    for start, stop, side, n in zip(box.start, box.stop, shard, cast(Shape, array.shape), strict=True):
        if start % side or (stop % side and stop != n):
            raise ValueError(f"{array_name(array)}: {box} is not aligned to shards of {shard}")
    with writing_to(Location.parse(array_name(array))), replacing_chunks():
        if (ours := direct(array, writing=True)) is not None:
            ours.write(box, data)
        else:
            array[box.slices] = data


def array_name(array: zarr.Array[Any]) -> str:
    """Return the path or URL of the array, as a person would write it."""
    return "/".join(filter(None, (store_name(array.store_path.store), array.store_path.path)))


def what_is_wrong(error: Exception) -> str:
    """Return in few words why Zarr could not use metadata, given the `error` that it raised."""
    text = " ".join(str(error).split())[:120]
    match error:
        case JSONDecodeError() | UnicodeDecodeError():
            return f"no JSON: {text}"
        case RecursionError():
            return "no JSON: nested too deeply"
        case KeyError():
            return f"no {text}"
    return text or type(error).__name__
