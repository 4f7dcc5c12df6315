"""Which multiples of voxels blocks are read in, and whether one can be read at all."""

from __future__ import annotations

from math import prod
from typing import Any, cast

import zarr

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.store.arrays import array_name, object_shape, shard_shape
from ps3d_core.store.volume import stored_array


def block_alignment(array: zarr.Array[Any]) -> Shape:
    """Return the shape (z, y, x) that blocks of this array should be multiples of, so that few decode the same chunk.

    It is the array's shard or chunk, except that foreign arrays may be one single chunk, and blocks need not be so
    large: they get the shard this project would have used.
    """
    own = object_shape(array)
    ours = shard_shape(cast(Shape, array.shape))
    return own if prod(own) <= 2 * prod(ours) else ours


def require_chunk_fits(array: zarr.Array[Any], memory_bytes: int) -> None:
    """Raise `InputError` when one chunk of the array, unpacked, exceeds `memory_bytes`: chunks are read whole."""
    chunks = stored_array(array).chunks  # along all axes: what spans channels is unpacked for all of them
    size = prod(chunks) * array.dtype.itemsize
    if size > memory_bytes:
        raise InputError(
            f"{array_name(array)}: chunks of {chunks} voxels, {size / 2**30:.1f} GiB each; the memory budget is "
            f"{memory_bytes / 2**30:.1f} GiB",
            "give more <memory>",
            "write the array again in smaller chunks",
        )
