"""A scan of one single grey value: nothing can be found in it, and whatever a network says of it is noise."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import numpy as np
import zarr

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store.arrays import object_shape, read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.ownership import MARK, zarr_attributes


def require_contrast(image: Location) -> None:
    """Raise `InputError` when all voxels of a scan are equal.

    Ingested scans say their smallest and largest value. Others are read until two voxels differ, which is nearly always
    in the first chunk.
    """
    said = zarr_attributes(image).get(MARK)
    known = said if isinstance(said, dict) else {}
    if {"minimum", "maximum"} <= known.keys():
        value = known["minimum"] if known["minimum"] == known["maximum"] else None
    else:
        value = _only_value(open_image(image))
    if value is not None:
        raise InputError(f"{image}: every voxel is {value:g}; check how it was exported, and ingest the scan again")


def _only_value(array: zarr.Array[Any]) -> Any:
    """The value that all voxels have; None when two differ, or are not numbers."""
    shape, sides = cast(Shape, array.shape), object_shape(array)
    value = None
    for start in product(*(range(0, n, side) for n, side in zip(shape, sides, strict=True))):
        z, y, x = (min(a + side, n) for a, side, n in zip(start, sides, shape, strict=True))
        voxels = read_box(array, Box((start[0], start[1], start[2]), (z, y, x)))
        value = voxels.flat[0] if value is None else value
        if not np.array_equal(voxels, np.broadcast_to(value, voxels.shape)):
            return None
    return value
