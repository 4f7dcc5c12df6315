"""Border-core classes: the three values a network gives a voxel, read and checked.

Everything below the network works on these. They may come from anywhere (another program's float64 Zarr too), so a
box of them is checked each time it is read: a wrong class must stop a run, not become a particle. A box is read slab
by slab, so that it never lies in memory as the eight bytes per voxel that others may have stored.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store.arrays import array_name, read_box

BACKGROUND: Final = 0
CORE: Final = 1
BORDER: Final = 2

CERTAIN: Final = 255
"""Certainty of a voxel whose class has a probability of 1; others have their share of it, rounded, uint8."""

Classes = npt.NDArray[np.uint8]

SLAB: Final = 32
"""Planes of another type than uint8 that are in memory at once, or as many as a chunk has when that is more."""


def read_classes(array: zarr.Array[Any], box: Box, into: Classes | None = None) -> Classes:
    """Return the classes of `box`, uint8: 0 background, 1 core, 2 border; they are put into `into` when it is given.

    Any number type is accepted. Raise `InputError` when a voxel has another value.
    """
    if array.dtype == np.uint8:
        classes = read_box(array, box, into)
        _check(classes, classes, array, box)
        return classes
    classes = np.empty(box.shape, np.uint8) if into is None else into
    chunk = cast(Shape, array.chunks)[0]
    for slab in box.slabs(ceil(SLAB / chunk) * chunk):  # no chunk is decoded twice
        data = read_box(array, slab)
        part = classes[slab.relative_to(box).slices]
        with np.errstate(invalid="ignore"):
            part[...] = data.astype(np.uint8)
        _check(part, data, array, box)
    return classes


def _check(classes: Classes, data: npt.NDArray[Any], array: zarr.Array[Any], box: Box) -> None:
    """Raise `InputError` when `data`, of which `classes` were made, has a value that is no class."""
    if classes.max(initial=0) > BORDER or (data is not classes and not np.array_equal(classes, data)):
        wrong = data[~np.isin(data, (BACKGROUND, CORE, BORDER))].flat[0]
        raise InputError(
            f"{array_name(array)}: value {wrong} in voxels {box.start} to {box.stop}; only 0 (background), 1 (core) "
            "and 2 (border) are classes; give a border-core volume"
        )
