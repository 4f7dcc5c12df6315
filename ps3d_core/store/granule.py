"""Which multiples of voxels blocks are read in."""

from __future__ import annotations

from math import prod
from typing import Any, cast

import zarr

from ps3d_core.geometry.boxes import Shape
from ps3d_core.store.arrays import object_shape, shard_shape


def reading_granule(array: zarr.Array[Any]) -> Shape:
    """Shape that blocks of this array should be multiples of, so that few blocks decode the same chunk.

    It is the array's shard or chunk, except that foreign arrays may be one single chunk, and blocks need not be so
    large: they get the shard this project would have used.
    """
    own = object_shape(array)
    ours = shard_shape(cast(Shape, array.shape))
    return own if prod(own) <= 2 * prod(ours) else ours
