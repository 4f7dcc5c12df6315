"""Write a scan as the levels of an OME-Zarr image while it streams by once.

Level 0 is written a slab at a time, a slab being one layer of shards. Each slab is halved on the way out; two halved
slabs are a slab of level 1, which is written, halved, and so on. What waits in all levels together is less than half
a slab, and nothing is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.progress import Stage
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slabs import deepest_slab, read_ahead
from ps3d_core.store.arrays import SHARD, chunk_shape, create_array, shard_shape, write_box
from ps3d_core.store.halving import Method, halve, level_shapes
from ps3d_core.store.location import Location


def write_levels(
    reader: ScanReader,
    image: Location,
    *,
    method: Method,
    memory_bytes: int,
    stage: Stage,
    inspect: Callable[[int, npt.NDArray[Any]], None] | None = None,
) -> list[Shape]:
    """Create the arrays `image`/0, 1, ... and fill them from `reader`; return their shapes.

    Writes no group metadata: until someone does, there is no image. `inspect` sees every slab of level 0 in order.
    `stage` advances by slices.
    """
    depth = _power_of_two(deepest_slab(reader.shape, reader.dtype, memory_bytes, most=SHARD))
    shapes = level_shapes(reader.shape)
    levels = [_create_level(image / str(level), shape, reader.dtype, depth) for level, shape in enumerate(shapes)]
    writer = _LevelWriter(levels, depth, method)
    with closing(read_ahead(reader, depth, inspect)) as slabs:
        for _, slab in slabs:
            writer.add(slab)
            stage.advance(len(slab))
    return shapes


def _create_level(location: Location, shape: Shape, dtype: np.dtype[Any], depth: int) -> zarr.Array[Any]:
    # Usual chunks and shards in y and x; in z no deeper than a slab, so that every shard is written whole and once.
    (cz, cy, cx), (sz, sy, sx) = chunk_shape(shape), shard_shape(shape)
    cz = min(cz, depth)
    sz = min(sz, depth) if shape[0] > depth else cz * -(-shape[0] // cz)
    return create_array(location, shape, dtype, chunks=(cz, cy, cx), shards=(sz, sy, sx))


def _power_of_two(depth: int) -> int:
    # Divides the usual chunk and shard, and halves down the levels without a rest.
    return int(1 << (depth.bit_length() - 1))


class _LevelWriter:
    def __init__(self, levels: Sequence[zarr.Array[Any]], depth: int, method: Method) -> None:
        self._array = levels[0]
        self._depth = depth
        self._method = method
        self._coarser = _LevelWriter(levels[1:], depth, method) if len(levels) > 1 else None
        self._waiting: list[npt.NDArray[Any]] = []
        self._written = 0

    def add(self, slices: npt.NDArray[Any]) -> None:
        self._waiting.append(slices)
        ready = sum(map(len, self._waiting))
        stop = self._written + ready
        if ready < self._depth and stop < self._array.shape[0]:
            return
        slab = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting = []
        _, y, x = self._array.shape
        write_box(self._array, Box((self._written, 0, 0), (stop, y, x)), slab)
        self._written = stop
        if self._coarser:
            self._coarser.add(halve(slab, self._method))
